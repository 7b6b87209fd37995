// One training pass over the whole layer, the same in every program that includes it.
#pragma once

#include <cstdint>
#include <random>

#include "moe/moe.hpp"

namespace moe::hygiene {

/// A number that depends on the output, on every gradient and on the auxiliary losses of a small layer.
inline double train_once(std::uint64_t seed) {
  constexpr Index experts = 4, width = 8, hidden = 16, tokens = 5;
  std::mt19937_64 generator{seed};
  const Layer layer{Router<float>::random(experts, width, generator), TopK{.k = 2},
                    make_experts<SwiGlu<float>>(experts, width, hidden, generator),
                    Losses{ImportanceLoss{}, RouterZLoss{}}, Capacity::factor(1.25)};
  const Matrix<float> x_TD =
      Matrix<float>::NullaryExpr(tokens, width, [](Index t, Index d) { return static_cast<float>((t * 7 + d) % 5); });
  typename decltype(layer)::Tape tape{seed};
  auto gradient = zeros_like(layer);
  const Matrix<float> y_TD = layer.forward(x_TD, tape);
  const Matrix<float> dx_TD = layer.backward(x_TD, y_TD, tape, gradient);
  return static_cast<double>(y_TD.sum()) + static_cast<double>(dx_TD.sum()) + flatten(gradient).sum();
}

}  // namespace moe::hygiene
