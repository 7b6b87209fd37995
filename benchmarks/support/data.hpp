// Random tokens and parts of the benchmarks' layers.
#pragma once

#include <moe/moe.hpp>
#include <random>

namespace bench {

using moe::Index;

inline moe::Matrix<float> random_tokens(Index tokens, Index width) {
  std::mt19937_64 rng(7);
  moe::Matrix<float> x_TD(tokens, width);
  moe::detail::fill_normal(rng, 1, x_TD);
  return x_TD;
}

/// Logits as of a router at its start, in a routing that a gate can be run on.
inline moe::Routing<float> random_routing(const moe::Batch<float>& batch, Index experts) {
  std::mt19937_64 rng(8);
  moe::Routing<float> routing;
  routing.reset(batch, experts);
  moe::detail::fill_normal(rng, 1, routing.logits_TE);
  return routing;
}

}  // namespace bench
