// Transformers that differ in who chooses.
#pragma once

#include <cstdint>

#include "../support/moe_language.hpp"
#include "moe/moe.hpp"

namespace choice {

using moe::Index;
using Layer = example::MoeLayer<float>;

/// Who chooses, and what keeps the load even.
struct Gating {
  example::AnyGate<float> gate;
  example::LossCoefficients losses = {};
  moe::Capacity capacity = moe::Capacity::unlimited();
};

/// As many slots as expert choice has.
inline Gating switch_gating() { return {moe::switch_top1(), {.load_balance = 1e-2}, moe::Capacity::factor(1)}; }
inline Gating gshard_gating() { return {moe::gshard_top2(), {.load_balance = 1e-2}, moe::Capacity::factor(1)}; }
inline Gating expert_gating(double factor) { return {moe::ExpertChoice{.factor = factor}}; }

enum class Sight { both_ways, back };  ///< What attention sees.

/// What all models have in common.
struct Setting {
  example::ModelSize size;
  example::TrainingOptions options;
  int tests, test_batches;  ///< How often a model is tested, and on how many batches.

  Setting(bool quick, std::uint64_t seed)
      : size{.width = quick ? 32 : 64, .heads = 4, .blocks = 2, .hidden = quick ? 32 : 128},
        options{.learning_rate = 0.256 / static_cast<double>(size.width), .seed = seed},
        tests(quick ? 8 : 16),
        test_batches(quick ? 8 : 32) {}
};

/// Two blocks, the second with 8 experts; there is a code more than in the alphabet, the mask.
inline example::MoeLanguageModel random_model(Index alphabet, const Gating& gating, Sight sight,
                                              const Setting& setting) {
  constexpr Index experts = 8;
  const example::ModelSize& size = setting.size;
  moe::Random random(setting.options.seed);
  const auto make_ffn = [&](Index block) {
    if (block % 2 == 0) return example::dense_layer<float>(size.width, size.hidden, random);
    return Layer{moe::Router<float>::random(experts, size.width, random), gating.gate,
                 moe::make_experts<moe::Mlp<float, moe::Relu>>(experts, size.width, size.hidden, random),
                 gating.losses.losses(), gating.capacity};
  };
  auto model = example::random_language_model<Layer>(alphabet + 1, size, make_ffn, random);
  for (auto& attention : model.transformer.attentions) attention.causal = sight == Sight::back;
  return model;
}

}  // namespace choice
