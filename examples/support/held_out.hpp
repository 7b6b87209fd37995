// What a language model and the router of its last block make of text that it was not trained on.
#pragma once

#include <numbers>
#include <span>

#include "language_training.hpp"
#include "moe/routing/load.hpp"
#include "text.hpp"

namespace example {

struct HeldOut {
  double bits = 0;                           ///< That a byte costs.
  moe::Vector<double> importance_E, load_E;  ///< Sums of the choices' weights, and numbers of choices, before dropping.
  double dropped_share = 0;                  ///< Of all choices.
};

/// Batches are drawn as in training, so that capacity, which depends on a batch's size and mixture, is met as there;
/// the first half of each sequence, which has little before it, is not counted in the bits.
template <class Model>
HeldOut test_on(const Model& model, std::span<const std::int64_t> codes, Index batches,
                const TrainingOptions& options) {
  moe::Random random(options.seed);
  auto tape = model.tape();
  const auto& routed = tape.transformer.blocks.back().ffn;
  const auto experts = static_cast<Index>(model.transformer.ffns.back().experts.size());
  HeldOut sum{0, moe::Vector<double>::Zero(experts), moe::Vector<double>::Zero(experts)};
  for (Index b = 0; b < batches; ++b) {
    const TextBatch batch = draw_batch(codes, options.sequences, options.length, random);
    model.forward(batch, tape);
    for (Index t = 0; t < batch.tokens(); ++t)
      if (t % batch.length >= batch.length / 2)
        sum.bits -= static_cast<double>(tape.logits_TV(t, batch.next[static_cast<std::size_t>(t)]));
    for (const auto& choice : routed.routing.choices) {
      sum.importance_E(choice.expert) += static_cast<double>(choice.weight);
      sum.load_E(choice.expert) += 1;
    }
    sum.dropped_share += moe::load_of(routed.plan).dropped_share / static_cast<double>(batches);
  }
  sum.bits /= std::numbers::ln2 * static_cast<double>(batches * options.sequences * (options.length / 2));
  return sum;
}

/// Standard deviation (population) / mean: 0 is even, sqrt(E - 1) all to one.
inline double variation(const moe::Vector<double>& share_E) {
  return std::sqrt((share_E.array() - share_E.mean()).square().mean()) / share_E.mean();
}

}  // namespace example
