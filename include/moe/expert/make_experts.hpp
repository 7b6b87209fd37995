// A layer's list of experts, each with random weights of its own.
#pragma once

#include <cstddef>
#include <vector>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

/// `count` experts X::random(arguments..., generator, options...): make_experts<SwiGlu<float>>(E, D, F, generator).
/// Throws std::invalid_argument if count < 1.
template <class X, class... Arguments>
std::vector<X> make_experts(Index count, Arguments&&... arguments) {
  require(count > 0, "make_experts: ", count, " experts, there must be 1 or more");
  std::vector<X> experts;
  experts.reserve(static_cast<std::size_t>(count));
  for (Index e = 0; e < count; ++e) experts.push_back(X::random(arguments...));
  return experts;
}

MOE_NAMESPACE_END
