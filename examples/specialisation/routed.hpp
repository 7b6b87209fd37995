// Which expert took what: counts by domain and expert, what they tell of each other, and an expert's typical bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numbers>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "../support/moe_language.hpp"
#include "data.hpp"

namespace specialisation {

using Counts = moe::Matrix<double>;  ///< Domains (or sequences) x experts.

inline double entropy(const moe::Vector<double>& count) {
  const double total = count.sum();
  double nats = 0;
  for (const double n : count)
    if (n > 0) nats -= n / total * std::log(n / total);
  return nats;
}

/// The mutual information of domain and expert, as a share of the lesser of their entropies: 0 if they are independent,
/// 1 if one tells the other.
inline double shared_information(const Counts& count_DE) {
  const double domain = entropy(count_DE.rowwise().sum()), expert = entropy(count_DE.colwise().sum().transpose());
  const double both = entropy(count_DE.reshaped());
  return (domain + expert - both) / (std::max)((std::min)(domain, expert), 1e-9);
}

/// The share of tokens whose domain one guesses by naming each expert's most frequent one.
inline double purity(const Counts& count_DE) { return count_DE.colwise().maxCoeff().sum() / count_DE.sum(); }

/// exp(H): how many experts a domain uses, in the mean over domains.
inline double experts_used(const Counts& count_DE) {
  double sum = 0;
  for (Index d = 0; d < count_DE.rows(); ++d) sum += std::exp(entropy(count_DE.row(d).transpose()));
  return sum / static_cast<double>(count_DE.rows());
}

/// What the last mixture of a model does with held-out text.
struct Routed {
  example::TextBatch batch;
  Index domains;
  double bits;                  ///< Per byte.
  double token_entropy;         ///< Of the gate's probabilities, mean over tokens, in nats.
  Counts count_SE;              ///< By sequence; the one with number s is of domain s % domains.
  std::vector<Index> expert_T;  ///< Who took the token.

  Index experts() const { return count_SE.cols(); }

  /// `domain_S`: of each sequence.
  Counts by_domain(std::span<const Index> domain_S) const {
    Counts count_DE = Counts::Zero(domains, experts());
    for (Index s = 0; s < count_SE.rows(); ++s) count_DE.row(domain_S[static_cast<std::size_t>(s)]) += count_SE.row(s);
    return count_DE;
  }
  Counts by_domain() const { return by_domain(domain_of_sequence()); }

  /// Shared information if sequences get each other's domains, mean over shuffles.
  double shuffled_information(moe::Random& random) const {
    constexpr int shuffles = 20;
    std::vector<Index> domain_S = domain_of_sequence();
    double sum = 0;
    for (int i = 0; i < shuffles; ++i) {
      for (std::size_t s = domain_S.size(); s > 1; --s)
        std::swap(domain_S[s - 1], domain_S[static_cast<std::size_t>(random.uniform() * static_cast<double>(s))]);
      sum += shared_information(by_domain(domain_S));
    }
    return sum / shuffles;
  }

  /// Of the expert and the byte that it is given.
  double byte_information(Index codes) const {
    Counts count_VE = Counts::Zero(codes, experts());
    for (std::size_t t = 0; t < expert_T.size(); ++t) count_VE(batch.codes[t], expert_T[t]) += 1;
    return shared_information(count_VE);
  }

 private:
  std::vector<Index> domain_of_sequence() const {
    std::vector<Index> domain_S;
    for (Index s = 0; s < count_SE.rows(); ++s) domain_S.push_back(s % domains);
    return domain_S;
  }
};

inline Routed route(const example::MoeLanguageModel& model, const Corpus& corpus, example::TextBatch batch) {
  auto tape = model.tape();
  const double nats = model.forward(batch, tape);
  const auto& layer = tape.transformer.blocks.back().ffn;
  Routed routed{.batch = std::move(batch),
                .domains = corpus.size(),
                .bits = nats / std::numbers::ln2,
                .token_entropy = moe::statistics_of(layer.routing, layer.plan).mean_entropy,
                .count_SE = {},
                .expert_T = {}};
  std::vector<Index> sequence_T;
  for (Index t = 0; t < routed.batch.tokens(); ++t) sequence_T.push_back(t / routed.batch.length);
  routed.count_SE = moe::count_by_class(layer.plan, sequence_T, routed.batch.tokens() / routed.batch.length);
  routed.expert_T.resize(sequence_T.size());
  for (const auto& choice : layer.routing.choices)
    routed.expert_T[static_cast<std::size_t>(choice.token)] = choice.expert;
  return routed;
}

/// Bytes as one can read them: a space is _, what is not ASCII two hexadecimal digits.
inline std::string legible(std::span<const std::int64_t> codes, const example::Alphabet& alphabet) {
  std::string text;
  for (const std::int64_t code : codes) {
    const auto byte = static_cast<unsigned char>(alphabet.byte(code));
    constexpr const char* digits = "0123456789abcdef";
    if (byte == ' ')
      text += '_';
    else if (byte == '\n')
      text += "\\n";
    else if (byte > ' ' && byte < 127)
      text += static_cast<char>(byte);
    else
      text += std::string{'<', digits[byte / 16], digits[byte % 16], '>'};
  }
  return text;
}

/// For each expert the `most` strings of three bytes, the last of them its token, with the greatest lift: how many
/// times more frequent they are among what it takes than in the whole text. Only those that are 0.3 % of what it takes.
inline std::vector<std::string> typical_strings(const Routed& routed, const example::Alphabet& alphabet,
                                                std::size_t most) {
  constexpr std::size_t bytes = 3;
  std::map<std::array<std::int64_t, bytes>, moe::Vector<double>> count_of;
  const auto length = static_cast<std::size_t>(routed.batch.length);
  moe::Vector<double> total_E = moe::Vector<double>::Zero(routed.experts());
  for (std::size_t t = 0; t < routed.expert_T.size(); ++t) {
    if (t % length < bytes - 1) continue;
    std::array<std::int64_t, bytes> string{};
    std::copy_n(routed.batch.codes.begin() + static_cast<std::ptrdiff_t>(t - bytes + 1), bytes, string.begin());
    auto& count_E = count_of.try_emplace(string, moe::Vector<double>::Zero(routed.experts())).first->second;
    count_E(routed.expert_T[t]) += 1;
    total_E(routed.expert_T[t]) += 1;
  }
  std::vector<std::string> list;
  for (Index e = 0; e < routed.experts(); ++e) {
    std::vector<std::tuple<double, double, std::string>> ranked;  // lift, count, string
    for (const auto& [string, count_E] : count_of) {
      const double count = count_E(e);
      if (count < 3 || count < 0.003 * total_E(e)) continue;
      const double lift = count / count_E.sum() * total_E.sum() / total_E(e);
      ranked.emplace_back(lift, count, legible(string, alphabet));
    }
    std::sort(ranked.rbegin(), ranked.rend());
    std::string line;
    for (std::size_t i = 0; i < (std::min)(most, ranked.size()); ++i)
      line += (i > 0 ? "  " : "") + std::get<2>(ranked[i]);
    list.push_back(line);
  }
  return list;
}

}  // namespace specialisation
