// The feed-forward parts that a model may have, all with as many active parameters as the dense one.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../support/shared_moe_language.hpp"

namespace language_model {

using example::Index;
using Layer = example::MoeLayer<float>;
using Expert = moe::Mlp<float, moe::Relu>;
using SharedLayer = example::SharedMoeLayer;

inline const std::vector<std::string> names{"dense", "switch", "gshard", "noisy", "expert-choice", "hash", "deepseek"};

struct Settings {
  example::ModelSize size;
  Index experts = 8;  ///< Of the size of the dense network; where k are active, k times as many of a k-th of the size.
  double capacity = 1.25;
  double load_balance = 1e-2, importance = 5e-2, load = 5e-2, router_z = 0;
  std::vector<double> frequencies;  ///< Of the codes, for the hash.
};

/// Of each of the experts that a token meets.
inline Index share_of_hidden(const Settings& settings, Index parts) {
  moe::require(settings.size.hidden % parts == 0, "a hidden width of ", settings.size.hidden, " does not divide among ",
               parts, " experts");
  return settings.size.hidden / parts;
}

/// A layer by name, but for the dense one and "deepseek".
inline Layer moe_layer(const std::string& name, const Settings& settings, moe::Random& random) {
  const auto& size = settings.size;
  const Index active = name == "gshard" || name == "noisy" ? 2 : 1, experts = active * settings.experts;
  const auto made = [&](example::AnyGate<float> gate, example::LossCoefficients coefficients, moe::Capacity capacity) {
    return Layer{moe::Router<float>::random(experts, size.width, random), std::move(gate),
                 moe::make_experts<Expert>(experts, size.width, share_of_hidden(settings, active), random),
                 coefficients.losses(), capacity};
  };
  const moe::Capacity capacity = moe::Capacity::factor(settings.capacity).at_inference(moe::Capacity::factor(2));
  const example::LossCoefficients balanced{.load_balance = settings.load_balance, .router_z = settings.router_z};
  if (name == "switch") return made(moe::switch_top1(), balanced, capacity);
  if (name == "gshard") return made(moe::gshard_top2(), balanced, capacity);
  if (name == "noisy")
    return made(moe::NoisyTopK<float>::zeros(experts, size.width, {.k = 2}),
                {.importance = settings.importance, .load = settings.load}, moe::Capacity::unlimited());
  if (name == "expert-choice") return made(moe::ExpertChoice{.factor = 1}, {}, moe::Capacity::unlimited());
  if (name == "hash") return made(moe::Hash::balanced(settings.frequencies, experts), {}, moe::Capacity::unlimited());
  throw std::invalid_argument("no model is called '" + name + "'");
}

/// DeepSeek-V3's layer: a shared expert and three of many, all a quarter of the size; no auxiliary loss, the bias of
/// the selection is moved after each step. Its dense layers have one expert of three quarters beside the shared one.
inline SharedLayer deepseek_layer(bool dense, const Settings& settings, moe::Random& random) {
  const auto& size = settings.size;
  const Index quarter = share_of_hidden(settings, 4), experts = 4 * settings.experts - 1;
  Layer layer = example::dense_layer<float>(size.width, size.hidden - quarter, random);
  if (!dense) {
    moe::ScoredTopK gate{.k = 3};
    gate.selection_bias_E.setZero(experts);
    layer = {moe::Router<float>::random(experts, size.width, random), gate,
             moe::make_experts<Expert>(experts, size.width, quarter, random), example::LossCoefficients{}.losses()};
  }
  return {std::move(layer), Expert::random(size.width, quarter, random)};
}

}  // namespace language_model
