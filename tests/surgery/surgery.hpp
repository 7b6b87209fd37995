// Small trained layers to operate on.
#pragma once

#include <random>
#include <utility>

#include "moe/moe.hpp"
#include "support/random_model.hpp"

namespace moe::surgery {

using X = Mlp<double>;
inline constexpr Index experts = 3, width = 4, hidden = 5;

/// Every parameter drawn, biases too.
template <class R, class G>
auto layer_of(R router, G gate) {
  std::mt19937_64 rng(3);
  return Layer{std::move(router), std::move(gate), support::random_experts<X>(experts, width, hidden, rng)};
}
template <class G>
auto layer_with(G gate) {
  std::mt19937_64 rng(2);
  return layer_of(support::random_router(experts, width, rng), std::move(gate));
}

inline std::vector<X> newcomers(Index count) {
  std::mt19937_64 rng(5);
  return support::random_experts<X>(count, width, hidden, rng);
}

inline Matrix<double> tokens(Index count = 6) {
  std::mt19937_64 rng(4);
  return support::random_matrix(count, width, rng);
}

/// One step; the optimiser's answer.
template <class SomeLayer, class Optimizer>
bool train_once(SomeLayer& layer, Optimizer& optimizer, const Batch<double>& batch) {
  typename SomeLayer::Tape tape{1};
  SomeLayer gradient = zeros_like(layer);
  const Matrix<double> y = layer.forward(batch, tape);
  layer.backward(batch, y, tape, gradient);
  return optimizer.step(layer, gradient);
}

}  // namespace moe::surgery
