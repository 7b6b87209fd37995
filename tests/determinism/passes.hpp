// One training step of a layer, kept whole, to be compared bit by bit with another.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "moe/moe.hpp"
#include "support/bits.hpp"
#include "support/random_model.hpp"

namespace determinism {

using moe::Index;

// Large enough that every product, and every walk over rows, is cut into several tasks.
inline constexpr Index tokens = 400, width = 260, hidden = 20, expert_count = 6;

template <class S>
struct Passes {
  moe::Matrix<S> y_TD, dx_TD;
  moe::Vector<double> gradient;
  double auxiliary = 0;

  friend bool operator==(const Passes& a, const Passes& b) {
    using support::same_bits;
    return same_bits(a.y_TD, b.y_TD) && same_bits(a.dx_TD, b.dx_TD) && same_bits(a.gradient, b.gradient) &&
           same_bits(a.auxiliary, b.auxiliary);
  }
};

/// Without a seed: an evaluation pass, and its backward pass.
template <class Layer, class Exec>
auto run(const Layer& layer, const moe::Batch<typename Layer::Scalar>& batch, const Exec& executor,
         std::optional<std::uint64_t> seed) {
  using S = typename Layer::Scalar;
  using Tape = typename Layer::Tape;
  Tape tape = seed ? Tape(*seed) : Tape();
  Passes<S> passes;
  passes.y_TD = layer.forward(batch, tape, executor);
  passes.auxiliary = static_cast<double>(layer.auxiliary_loss(tape));
  std::mt19937_64 rng(1);
  const moe::Matrix<S> dy_TD = support::random_matrix<S>(passes.y_TD.rows(), passes.y_TD.cols(), rng);
  auto gradient = moe::zeros_like(layer);
  passes.dx_TD = layer.backward(batch, dy_TD, tape, gradient, executor);
  passes.gradient = moe::flatten(gradient);
  return passes;
}

/// Noise, jitter, capacity and every loss at once.
template <class S>
auto noisy_layer(std::mt19937_64& rng, Index experts = expert_count) {
  moe::Router<S> router = support::random_router<S>(experts, width, rng);
  router.jitter = 0.1;
  return moe::Layer{std::move(router), support::random_noisy_gate<S>(experts, width, {.k = 2}, rng),
                    support::random_experts<moe::Mlp<S, moe::Gelu>>(experts, width, hidden, rng),
                    moe::Losses{moe::ImportanceLoss{}, moe::LoadLoss{}, moe::LoadBalanceLoss{}, moe::RouterZLoss{}},
                    moe::Capacity::factor(0.9)};
}

template <class S>
auto expert_choice_layer(std::mt19937_64& rng) {
  return moe::Layer{support::random_router<S>(expert_count, width, rng), moe::ExpertChoice{},
                    support::random_experts<moe::SwiGlu<S>>(expert_count, width, hidden, rng),
                    moe::Losses{moe::RouterZLoss{}}};
}

template <class S>
auto layer_of_layers(std::mt19937_64& rng) {
  return moe::Layer{support::random_router<S>(2, width, rng), moe::TopK{.k = 2},
                    std::vector{noisy_layer<S>(rng, 3), noisy_layer<S>(rng, 3)}, moe::Losses{moe::LoadBalanceLoss{}}};
}

/// Experts that drop, means of normalised tokens, and an expert beside them.
template <class S>
auto soft_layer(std::mt19937_64& rng) {
  const auto experts = moe::make_experts<moe::Mlp<S, moe::Gelu>>(expert_count, width, hidden, rng,
                                                                 moe::ExpertOptions{.bias = true, .dropout = 0.3});
  auto soft = moe::SoftLayer<S, moe::Mlp<S, moe::Gelu>>::random(20, width, experts, rng, {.normalize = true});
  return moe::Shared{std::move(soft), moe::Mlp<S, moe::Gelu>::random(width, 300, rng, {.dropout = 0.3}),
                     moe::SigmoidMix<S>::random(width, rng)};
}

}  // namespace determinism
