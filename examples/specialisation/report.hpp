// Tables and sentences about who takes what.
#pragma once

#include <cstdint>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "../support/table.hpp"
#include "data.hpp"
#include "routed.hpp"

namespace specialisation {

/// What one corpus led to: before training, with the load-balance loss, and with the entropy losses.
struct Result {
  Corpus corpus;
  Routed untrained, balance, entropies;
};

inline std::vector<std::pair<std::string, const Routed*>> rows_of(const Result& result) {
  return {{"untrained", &result.untrained}, {"load balance", &result.balance}, {"entropies", &result.entropies}};
}

inline void print_measures(const std::vector<Result>& results, std::uint64_t seed) {
  example::Table table({"data, losses", "bits per byte", "purity", "domain known", "shuffled", "byte known",
                        "entropy of a token", "experts of a domain"});
  for (const Result& result : results)
    for (const auto& [name, routed] : rows_of(result)) {
      moe::Random random(seed);
      const Counts count_DE = routed->by_domain();
      table.row({result.corpus.name + ", " + name, example::fixed(routed->bits, 2), example::fixed(purity(count_DE), 2),
                 example::fixed(shared_information(count_DE), 3),
                 example::fixed(routed->shuffled_information(random), 3),
                 example::fixed(routed->byte_information(result.corpus.alphabet.size()), 2),
                 example::fixed(routed->token_entropy, 2), example::fixed(experts_used(count_DE), 1)});
    }
  std::cout
      << table
      << "\nPurity: how often the expert's most frequent domain is right. Known: mutual information of expert and "
         "domain, or\nbyte, as a share of the lesser entropy; shuffled: if sequences get each other's domains. "
         "Entropy of the gate's\nprobabilities, in nats. Experts: exp(entropy) of those that take a domain.\n";
}

inline void print_experts(const Result& result, std::size_t most) {
  const Routed& routed = result.balance;
  const Counts count_DE = routed.by_domain();
  std::vector<std::string> head{result.corpus.name + ": % of the tokens to expert"};
  for (Index e = 0; e < routed.experts(); ++e) head.push_back(std::to_string(e));
  example::Table shares(head);
  for (Index d = 0; d < count_DE.rows(); ++d) {
    std::vector<std::string> cells{result.corpus.domains[static_cast<std::size_t>(d)]};
    for (Index e = 0; e < routed.experts(); ++e)
      cells.push_back(example::fixed(100 * count_DE(d, e) / count_DE.row(d).sum()));
    shares.row(cells);
  }
  example::Table strings({"most typical strings, the last byte its token; _ is a space", "expert", "% of all"});
  const auto typical = typical_strings(routed, result.corpus.alphabet, most);
  for (Index e = 0; e < routed.experts(); ++e)
    strings.row({typical[static_cast<std::size_t>(e)], std::to_string(e),
                 example::fixed(100 * count_DE.col(e).sum() / count_DE.sum())});
  std::cout << '\n' << shares << '\n' << strings;
}

inline std::string percent(double share) { return example::fixed(100 * share) + " %"; }

/// Shared information of the domains whose text is ASCII for the most part, if there are others: what is
/// left where the script does not tell them apart.
inline std::string known_in_ascii(const Routed& routed, const Corpus& corpus) {
  std::vector<Index> rows;
  for (Index d = 0; d < corpus.size(); ++d)
    if (corpus.ascii_share(d) > .8) rows.push_back(d);
  if (std::ssize(rows) == corpus.size()) return "";
  const Counts count_DE = routed.by_domain();
  return "; " + percent(shared_information(count_DE(rows, Eigen::seqN(0, count_DE.cols())))) +
         " in those that are mostly ASCII";
}

/// What the papers say, and what was measured.
inline void conclude(const Result& result) {
  const auto known = [](const Routed& routed) { return shared_information(routed.by_domain()); };
  const Routed &plain = result.balance, &with = result.entropies;
  const Index codes = result.corpus.alphabet.size();
  const double domain = known(plain), parted = known(with), byte = plain.byte_information(codes);
  std::cout << "\nThe " << result.corpus.name << ": expert and domain share " << percent(domain)
            << " of what they could (" << percent(known(result.untrained)) << " before training"
            << known_in_ascii(plain, result.corpus) << "),\nexpert and byte " << percent(byte) << ": experts are for "
            << (byte > domain ? "bytes first, as ST-MoE's are for kinds of tokens." : "domains first, unlike ST-MoE's.")
            << "\nWith entropy losses expert and domain share " << percent(parted) << ", expert and byte "
            << percent(with.byte_information(codes)) << ": experts part by domain "
            << (parted > 1.1 * domain   ? "more, as LIMoE's do by modality."
                : parted < domain / 1.1 ? "less, unlike LIMoE's by modality."
                                        : "neither more nor less.")
            << '\n';
}

}  // namespace specialisation
