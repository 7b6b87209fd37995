// Models with every parameter drawn, biases too, and tokens for them.
#pragma once

#include <random>
#include <string_view>
#include <vector>

#include "moe/moe.hpp"

namespace support {

using moe::Index;

template <class S = double>
moe::Matrix<S> random_matrix(Index rows, Index columns, std::mt19937_64& rng, double stddev = 1) {
  moe::Matrix<S> matrix(rows, columns);
  moe::detail::fill_normal(rng, stddev, matrix);
  return matrix;
}

/// Every parameter from a normal distribution.
template <class Model>
Model randomized(Model model, std::mt19937_64& rng, double stddev = 0.5) {
  moe::for_each_parameter([&](std::string_view, auto& p) { moe::detail::fill_normal(rng, stddev, p); }, model);
  return model;
}

template <class S = double>
moe::Router<S> random_router(Index experts, Index width, std::mt19937_64& rng, bool bias = true) {
  auto router = moe::Router<S>::zeros(experts, width);
  if (bias) router.bias_E.setZero(experts);
  return randomized(router, rng);
}

template <class S = double>
moe::NoisyTopK<S> random_noisy_gate(Index experts, Index width, moe::TopK top_k, std::mt19937_64& rng) {
  return randomized(moe::NoisyTopK<S>::zeros(experts, width, top_k), rng);
}

/// D inputs; `hidden` is F, or for linear experts O.
template <class X>
X random_expert(Index width, Index hidden, std::mt19937_64& rng, bool bias = true) {
  if constexpr (requires { X::random(width, hidden, rng, moe::ExpertOptions{}); }) {
    return randomized(X::random(width, hidden, rng, {.bias = bias}), rng);
  } else {
    X expert = X::random(width, hidden, rng);
    if (!bias) expert.bias_O.resize(0);
    return randomized(expert, rng);
  }
}

template <class X>
std::vector<X> random_experts(Index count, Index width, Index hidden, std::mt19937_64& rng, bool bias = true) {
  std::vector<X> experts;
  for (Index e = 0; e < count; ++e) experts.push_back(random_expert<X>(width, hidden, rng, bias));
  return experts;
}

}  // namespace support
