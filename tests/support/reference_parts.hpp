// The parts of the reference layer (support/reference_moe.hpp): experts, routers, gates and capacity.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numbers>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "moe/moe.hpp"

namespace reference {

using moe::Index;
using Batch = moe::Batch<double>;
using Matrix = moe::Matrix<double>;
using Row = std::vector<double>;
using Rows = std::vector<Row>;

inline std::size_t at(Index i) { return static_cast<std::size_t>(i); }
inline double sum(const Row& row) { return std::accumulate(row.begin(), row.end(), 0.0); }

inline Row softmax(const Row& logits) {
  Row p;
  for (const double z : logits) p.push_back(std::exp(z));
  const double total = sum(p);
  for (double& value : p) value /= total;
  return p;
}

/// Indices by falling value; equal values by index.
inline std::vector<Index> ranking(const Row& values) {
  std::vector<Index> order(values.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::sort(order.begin(), order.end(),
            [&](Index a, Index b) { return values[at(a)] != values[at(b)] ? values[at(a)] > values[at(b)] : a < b; });
  return order;
}

inline Row row_of(const moe::ConstMatrixRef<double>& matrix, Index row) {
  Row values;
  for (Index column = 0; column < matrix.cols(); ++column) values.push_back(matrix(row, column));
  return values;
}

/// w x + b; an empty b is zero.
template <class W>
Row affine(const W& w, const moe::Vector<double>& b, const Row& x) {
  Row y;
  for (Index i = 0; i < w.rows(); ++i) {
    double value = b.size() > 0 ? b(i) : 0;
    for (Index j = 0; j < w.cols(); ++j) value += w(i, j) * x[at(j)];
    y.push_back(value);
  }
  return y;
}

// Experts: a row to a row.

inline double activate(moe::Relu, double u) { return u > 0 ? u : 0; }
inline double activate(moe::Silu, double u) { return u / (1 + std::exp(-u)); }
inline double activate(moe::Gelu, double u) { return u / 2 * (1 + std::erf(u / std::numbers::sqrt2)); }
inline double activate(moe::GeluTanh, double u) {
  return u / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (u + 0.044715 * u * u * u)));
}

inline Row output(const moe::Linear<double>& expert, const Row& x) {
  return affine(expert.weight_OD, expert.bias_O, x);
}

template <class A>
Row output(const moe::Mlp<double, A>& expert, const Row& x) {
  Row hidden = affine(expert.w1_FD, expert.b1_F, x);
  for (double& u : hidden) u = activate(A{}, u);
  return affine(expert.w2_DF, expert.b2_D, hidden);
}

template <class A>
Row output(const moe::Glu<double, A>& expert, const Row& x) {
  Row hidden = affine(expert.w1_FD, expert.b1_F, x);
  const Row up = affine(expert.w3_FD, expert.b3_F, x);
  for (std::size_t f = 0; f < hidden.size(); ++f) hidden[f] = activate(A{}, hidden[f]) * up[f];
  return affine(expert.w2_DF, expert.b2_D, hidden);
}

// Routers: a row to logits.

inline Row logits(const moe::Router<double>& router, Row x, moe::Random* random) {
  if (random != nullptr && router.jitter > 0)
    for (double& value : x) value *= 1 + router.jitter * (2 * random->uniform() - 1);
  return affine(router.weight_ED, router.bias_E, x);
}

inline Row logits(const moe::NoRouter<double>& router, const Row&, moe::Random*) {
  return Row(at(router.expert_count), 0.0);
}

// Gates.

struct Choice {
  Index token, expert;
  double weight;
  Index rank;
};

struct Decision {
  Index experts = 0, k = 0;                       // k: 0 if it differs from token to token
  bool noisy = false;                             // stddev is set
  std::vector<Index> tokens;                      // without padding
  Rows logits, selection, stddev, probabilities;  // T x E, rows of padding empty; selection: with the noise
  std::vector<Choice> choices;                    // in order of priority
};

/// The weight of chosen[rank], by the formula of each mode.
inline double weight(const moe::TopK& gate, const Row& z, const Row& p, const std::vector<Index>& chosen, Index rank) {
  double exps = 0, probabilities = 0;
  for (const Index e : chosen) exps += std::exp(z[at(e)]), probabilities += p[at(e)];
  const std::size_t expert = at(chosen[at(rank)]);
  if (gate.weights.are_probabilities()) return p[expert];
  if (!gate.weights.are_divided()) return 1 / static_cast<double>(gate.k);
  const double epsilon = gate.weights.options().epsilon.value;
  return epsilon == 0 ? std::exp(z[expert]) / exps : p[expert] / (probabilities + epsilon);
}

inline void decide(const moe::TopK& gate, const Batch&, Decision& d, moe::Random*) {
  d.k = gate.k;
  for (Index rank = 0; rank < gate.k; ++rank)
    for (const Index t : d.tokens) {
      const Row& z = d.selection[at(t)];
      d.probabilities[at(t)] = softmax(z);
      std::vector<Index> chosen = ranking(z);
      chosen.resize(at(gate.k));
      d.choices.push_back({t, chosen[at(rank)], weight(gate, z, d.probabilities[at(t)], chosen, rank), rank});
    }
}

inline void decide(const moe::Softmax&, const Batch& batch, Decision& d, moe::Random* random) {
  decide(moe::TopK{.k = d.experts, .weights = moe::ChoiceWeights::probabilities()}, batch, d, random);
}

/// selection = logits + normal * stddev: token by token, a draw for each expert.
inline void add_noise(Decision& d, moe::Random& random) {
  d.noisy = true;
  for (const Index t : d.tokens)
    for (Index e = 0; e < d.experts; ++e) d.selection[at(t)][at(e)] += random.normal() * d.stddev[at(t)][at(e)];
}

inline void decide(const moe::NoisyTopK<double>& gate, const Batch& batch, Decision& d, moe::Random* random) {
  if (random != nullptr) {
    for (const Index t : d.tokens) {
      d.stddev[at(t)] = affine(gate.noise_weight_ED, {}, row_of(batch.x_TD, t));
      for (double& value : d.stddev[at(t)]) value = std::log(1 + std::exp(value)) + gate.epsilon;
    }
    add_noise(d, *random);
  }
  decide(gate.gate, batch, d, random);
}

template <class G>
void decide(const moe::FixedNoise<G>& gate, const Batch& batch, Decision& d, moe::Random* random) {
  if (random != nullptr) {
    for (const Index t : d.tokens) d.stddev[at(t)].assign(at(d.experts), gate.stddev / static_cast<double>(d.experts));
    add_noise(d, *random);
  }
  decide(gate.gate, batch, d, random);
}

/// Of the tokens in each group: every expert takes the C with the largest softmax over experts.
inline void decide(const moe::ExpertChoice& gate, const Batch& batch, Decision& d, moe::Random*) {
  std::map<Index, std::vector<Index>> groups;
  for (const Index t : d.tokens) {
    d.probabilities[at(t)] = softmax(d.selection[at(t)]);
    groups[batch.group_size > 0 ? t / batch.group_size : 0].push_back(t);
  }
  for (const auto& [group, tokens] : groups)
    for (Index e = 0; e < d.experts; ++e) {
      Row column;
      for (const Index t : tokens) column.push_back(d.probabilities[at(t)][at(e)]);
      const auto count = static_cast<double>(tokens.size());
      const double wanted = count * gate.factor / static_cast<double>(d.experts);
      const double rounded = gate.rounding == moe::Rounding::down ? std::floor(wanted)
                             : gate.rounding == moe::Rounding::up ? std::ceil(wanted)
                                                                  : std::nearbyint(wanted);
      const auto taken = static_cast<Index>(std::clamp(rounded, 1.0, count));
      const std::vector<Index> order = ranking(column);
      for (Index rank = 0; rank < taken; ++rank)
        d.choices.push_back({tokens[at(order[at(rank)])], e, column[at(order[at(rank)])], rank});
    }
}

inline void decide(const moe::Hash& gate, const Batch& batch, Decision& d, moe::Random*) {
  d.k = 1;
  for (const Index t : d.tokens) {
    const Index expert = gate.tables[0][static_cast<std::size_t>(batch.ids[at(t)])];
    d.probabilities[at(t)].assign(at(d.experts), 0.0);
    d.probabilities[at(t)][at(expert)] = 1;
    d.choices.push_back({t, expert, 1.0, 0});
  }
}

// Capacity.

/// What moe::Capacity was made from, which does not tell.
struct Room {
  std::optional<double> factor = {};
  std::optional<Index> exactly = {};

  moe::Capacity capacity() const {
    return factor    ? moe::Capacity::factor(*factor)
           : exactly ? moe::Capacity::exactly(*exactly)
                     : moe::Capacity::unlimited();
  }
};

/// Which choices find room: an expert takes C of each group, first come, first served.
inline std::vector<bool> keep(const Decision& d, const Batch& batch, const Room& room) {
  const auto group_of = [&](Index token) { return batch.group_size > 0 ? token / batch.group_size : 0; };
  std::map<Index, double> made;
  for (const Choice& c : d.choices) ++made[group_of(c.token)];
  std::map<std::pair<Index, Index>, double> taken;
  std::vector<bool> kept;
  for (const Choice& c : d.choices) {
    const double all = made[group_of(c.token)];
    const double slots = room.factor    ? std::ceil(*room.factor * all / static_cast<double>(d.experts))
                         : room.exactly ? static_cast<double>(*room.exactly)
                                        : all;
    double& count = taken[{group_of(c.token), c.expert}];
    kept.push_back(count < slots);
    if (kept.back()) ++count;
  }
  return kept;
}

}  // namespace reference
