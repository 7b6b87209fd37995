// The layer written down a second time, as loops over tokens, experts and numbers in double: what the library computes,
// without its kernels, routing, plan, dispatch and losses. It reads parameters and settings from the library's types,
// and draws noise from the same generator in the documented order; nothing else is shared. Slow on purpose.
#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <vector>

#include "support/reference_losses.hpp"
#include "support/reference_parts.hpp"

namespace reference {

struct Result : Decision {
  std::vector<bool> kept;  // for each choice
  Rows outputs;            // of each kept choice's expert
  Rows y;                  // T x O
  double auxiliary = 0;    // the losses times their coefficients, those of inner layers with them
};

template <class R, class G, class X, class L>
Result forward(const moe::Layer<R, G, X, L>& layer, const Batch& batch, const Room& room, moe::Random* random) {
  Result r;
  const std::size_t tokens = at(batch.tokens());
  r.experts = static_cast<Index>(layer.experts.size());
  for (Rows* rows : {&r.logits, &r.selection, &r.stddev, &r.probabilities}) rows->resize(tokens);
  for (Index t = 0; t < batch.tokens(); ++t)
    if (batch.valid.empty() || batch.valid[at(t)] != 0) {
      r.tokens.push_back(t);
      r.logits[at(t)] = r.selection[at(t)] = logits(layer.router, row_of(batch.x_TD, t), random);
    }
  decide(layer.gate, batch, r, random);
  r.kept = keep(r, batch, room);
  r.auxiliary = auxiliary_loss(layer.losses, r);

  r.outputs.resize(r.choices.size());
  for (Index e = 0; e < r.experts; ++e) run_expert(layer.experts[at(e)], e, batch, random, r);

  r.y.assign(tokens, Row(at(layer.output_width(batch.x_TD.cols())), 0.0));
  for (std::size_t i = 0; i < r.choices.size(); ++i)
    for (std::size_t o = 0; o < r.outputs[i].size(); ++o)
      r.y[at(r.choices[i].token)][o] += r.choices[i].weight * r.outputs[i][o];
  return r;
}

template <class X>
void run_expert(const X& expert, Index e, const Batch& batch, moe::Random*, Result& r) {
  for (std::size_t i = 0; i < r.choices.size(); ++i)
    if (r.kept[i] && r.choices[i].expert == e) r.outputs[i] = output(expert, row_of(batch.x_TD, r.choices[i].token));
}

/// A layer as an expert: its tokens are the outer layer's choices, in order of priority, and it draws from a generator
/// of its own, seeded by the outer one's.
template <class R, class G, class X, class L>
void run_expert(const moe::Layer<R, G, X, L>& expert, Index e, const Batch& batch, moe::Random* random, Result& r) {
  std::optional<moe::Random> own;
  if (random != nullptr) own.emplace(random->seed());
  std::vector<std::size_t> mine;
  for (std::size_t i = 0; i < r.choices.size(); ++i)
    if (r.kept[i] && r.choices[i].expert == e) mine.push_back(i);
  Matrix x(static_cast<Index>(mine.size()), batch.x_TD.cols());
  for (std::size_t n = 0; n < mine.size(); ++n) x.row(static_cast<Index>(n)) = batch.x_TD.row(r.choices[mine[n]].token);
  if (mine.empty()) return;
  const Result inner = forward(expert, x, {}, own ? &*own : nullptr);
  r.auxiliary += inner.auxiliary;
  for (std::size_t n = 0; n < mine.size(); ++n) r.outputs[mine[n]] = inner.y[n];
}

// Losses on slots: f(weights, distances to the target) of each token that has slots.

inline double squared_distance(const Row& a, const Row& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += (a[i] - b[i]) * (a[i] - b[i]);
  return total;
}

inline double token_loss(const moe::CooperativeLoss&, const Row&, const Rows&, const Row& blend, const Row& target) {
  return squared_distance(target, blend);
}

inline double token_loss(const moe::CompetitiveLoss&, const Row& p, const Rows& o, const Row&, const Row& target) {
  double total = 0;
  for (std::size_t i = 0; i < p.size(); ++i) total += p[i] * squared_distance(target, o[i]);
  return total;
}

inline double token_loss(const moe::MixtureNegativeLogLikelihood& setting, const Row& p, const Rows& o, const Row&,
                         const Row& target) {
  double likelihood = 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    likelihood += p[i] * std::exp(-squared_distance(target, o[i]) / (2 * setting.variance));
  return -std::log(likelihood);
}

/// The sum over the tokens that have slots.
template <class SlotLoss>
double slot_loss(const SlotLoss& setting, const Result& r, const Matrix& target_TO) {
  double total = 0;
  for (const Index t : r.tokens) {
    Row weights;
    Rows outputs;
    for (std::size_t i = 0; i < r.choices.size(); ++i)
      if (r.kept[i] && r.choices[i].token == t) weights.push_back(r.choices[i].weight), outputs.push_back(r.outputs[i]);
    if (!weights.empty()) total += token_loss(setting, weights, outputs, r.y[at(t)], row_of(target_TO, t));
  }
  return total;
}

}  // namespace reference
