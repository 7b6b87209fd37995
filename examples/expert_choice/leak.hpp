// Does a gate look ahead? The same bytes are told once in a batch of whole sequences, as in training, and once from
// those before them alone, as in writing.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

#include "../support/domains.hpp"
#include "model.hpp"

namespace choice {

/// Bits per byte, and the mean of the absolute differences.
struct Leak {
  double in_batch = 0, from_prefix = 0, difference = 0;
};

struct Leaks {
  Leak tokens_choose, experts_choose;
};

inline example::TextBatch prefix_of(const example::TextBatch& batch, Index begin, Index length) {
  const auto from = static_cast<std::ptrdiff_t>(begin), to = static_cast<std::ptrdiff_t>(begin + length);
  return {length,
          {batch.codes.begin() + from, batch.codes.begin() + to},
          {batch.next.begin() + from, batch.next.begin() + to}};
}

/// Of every fourth byte in the second half of each sequence.
inline Leak measure_leak(const example::MoeLanguageModel& model, const example::TextBatch& batch) {
  auto whole = model.tape(), part = model.tape();
  model.forward(batch, whole);
  Leak sum;
  double told = 0;
  for (Index begin = 0; begin < batch.tokens(); begin += batch.length)
    for (Index seen = batch.length / 2 + 4; seen <= batch.length; seen += 4) {
      const example::TextBatch prefix = prefix_of(batch, begin, seen);
      model.forward(prefix, part);
      const auto in_batch = static_cast<double>(whole.logits_TV(begin + seen - 1, prefix.next.back()));
      const auto from_prefix = static_cast<double>(part.logits_TV(seen - 1, prefix.next.back()));
      sum.in_batch -= in_batch / std::numbers::ln2;
      sum.from_prefix -= from_prefix / std::numbers::ln2;
      sum.difference += std::abs(in_batch - from_prefix) / std::numbers::ln2;
      ++told;
    }
  return {sum.in_batch / told, sum.from_prefix / told, sum.difference / told};
}

/// Trains a model of each kind from left to right. Top-1 drops no byte here: which one is dropped depends on the others
/// in the batch, too.
inline Leaks measure_leaks(const example::Domains& data, Index steps, const Setting& setting) {
  Leaks leaks;
  Gating top1 = switch_gating();
  top1.capacity = moe::Capacity::unlimited();
  const auto measure = [&](const Gating& gating) {
    example::MoeLanguageTraining training(random_model(data.alphabet, gating, Sight::back, setting), setting.options);
    for (Index step = 0; step < steps; ++step)
      training.advance(data.train, static_cast<double>(step) / static_cast<double>(steps));
    moe::Random random(1);
    return measure_leak(training.model, example::draw_batch(data.held_out, 64, training.options.length, random));
  };
  leaks.tokens_choose = measure(top1);
  leaks.experts_choose = measure(expert_gating(1));
  return leaks;
}

}  // namespace choice
