// Learning to tell masked bytes, and how its experts were used.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../support/svg.hpp"
#include "model.hpp"

namespace choice {

/// A fifth of the bytes give way to the mask and are to be told (Devlin et al. 2019, who leave some of them as they
/// are).
inline example::TextBatch draw_masked(std::span<const std::int64_t> text, std::int64_t mask,
                                      const example::TrainingOptions& options, moe::Random& random) {
  example::TextBatch batch = example::draw_batch(text, options.sequences, options.length, random);
  for (std::size_t t = 0; t < batch.codes.size(); ++t) {
    const bool masked = random.uniform() < 0.2;
    batch.next[t] = masked ? batch.codes[t] : -1;
    if (masked) batch.codes[t] = mask;
  }
  return batch;
}

/// What became of the bytes of some batches.
struct Usage {
  bool always_even = true;               ///< In every batch, every expert had the same number.
  double fullest = 0;                    ///< Bytes that chose the fullest expert, of an even share; the mean.
  double dropped = 0;                    ///< Of the choices; the mean.
  std::array<double, 4> with_experts{};  ///< Shares of the bytes on which 0, 1, 2, more experts worked.

  void add(const moe::Plan<float>& plan, double share) {
    const moe::Load load = moe::load_of(plan);
    const auto& received = load.received;
    always_even &= std::adjacent_find(received.begin(), received.end(), std::not_equal_to<>{}) == received.end();
    fullest += share * (1 + load.max_violation);
    dropped += share * load.dropped_share;
    for (std::size_t t = 0; t + 1 < plan.first_of_token.size(); ++t) {
      const auto experts = static_cast<std::size_t>(plan.first_of_token[t + 1] - plan.first_of_token[t]);
      with_experts[(std::min)(experts, std::size_t{3})] += share / static_cast<double>(plan.tokens());
    }
  }
};

class Run {
 public:
  std::string name;
  std::vector<example::Point> curve;  ///< Steps, bits per masked byte held out.
  Usage usage;

  Run(std::string name_, const Gating& gating, Index alphabet, const Setting& setting)
      : name(std::move(name_)),
        training_(random_model(alphabet, gating, Sight::both_ways, setting), setting.options),
        mask_(alphabet),
        batches_(setting.test_batches) {}

  Index steps() const { return training_.step; }

  void train(std::span<const std::int64_t> text, double fraction) {
    moe::Random random(training_.options.seed * 1'000'003 + static_cast<std::uint64_t>(training_.step));
    training_.advance(draw_masked(text, mask_, training_.options, random), fraction, random);
  }

  /// On the same batches, with the same masks, every time.
  void test(std::span<const std::int64_t> held_out) {
    double bits = 0;
    for_each_test(held_out, false, [&](double nats, const auto&) { bits += nats / std::numbers::ln2 / batches_; });
    curve.push_back({static_cast<double>(training_.step), bits});
  }

  /// In passes of training, where GShard draws whether a second expert is sent a byte.
  void measure_usage(std::span<const std::int64_t> held_out) {
    usage = {};
    for_each_test(held_out, true, [&](double, const moe::Plan<float>& plan) { usage.add(plan, 1.0 / batches_); });
  }

 private:
  template <class F>
  void for_each_test(std::span<const std::int64_t> held_out, bool training, F&& f) const {
    auto tape = training_.model.tape();
    moe::Random random(1);
    for (int i = 0; i < batches_; ++i) {
      if (training) example::Transformer<Layer>::seed(tape.transformer, random);
      const double nats = training_.model.forward(draw_masked(held_out, mask_, training_.options, random), tape);
      f(nats, tape.transformer.blocks[1].ffn.plan);
    }
  }

  example::MoeLanguageTraining training_;
  std::int64_t mask_;
  int batches_;  ///< Of a test.
};

}  // namespace choice
