// How likely standard noise is to exceed a number: what the load loss is made of.
#pragma once

#include <cmath>
#include <numbers>

#include "moe/core/core.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The probability that a standard draw is more than -u.
template <class S>
S noise_tail(Distribution distribution, S u) {
  if (distribution == Distribution::gumbel) return -std::expm1(-std::exp(u));
  return S(0.5) * std::erfc(-u * (std::numbers::sqrt2_v<S> / 2));
}

/// Its derivative.
template <class S>
S noise_density(Distribution distribution, S u) {
  if (distribution == Distribution::gumbel) return std::exp(u - std::exp(u));
  return std::exp(-u * u / 2) * std::numbers::inv_sqrtpi_v<S> / std::numbers::sqrt2_v<S>;
}

}  // namespace detail

MOE_NAMESPACE_END
