// The norm of a gradient, and clipping by it.
#pragma once

#include <cmath>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameter_view.hpp"
#include "moe/core/parameters.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline double norm_of(const std::vector<ParameterView>& gradient) {
  double largest = 0, squares = 0;
  for (const ParameterView& parameter : gradient)
    parameter.for_each_block([&](Index, const double* values, Index count) {
      for (Index i = 0; i < count; ++i)
        if (const double size = std::abs(values[i]); !(size <= largest)) largest = size;  // NaN stays
    });
  if (largest == 0 || !has_finite_bits(largest)) return largest;
  for (const ParameterView& parameter : gradient)
    parameter.for_each_block([&](Index, const double* values, Index count) {
      for (Index i = 0; i < count; ++i) {
        const double value = values[i] / largest;
        squares += value * value;
      }
    });
  return largest * std::sqrt(squares);
}

inline double clip_norm_of(const std::vector<ParameterView>& gradient, double limit) {
  require(limit > 0, "clip_global_norm: the limit is ", limit, ", it must be more than 0");
  const double norm = norm_of(gradient);
  if (!has_finite_bits(norm) || norm <= limit) return norm;
  for (const ParameterView& parameter : gradient)
    parameter.for_each_block([&](Index begin, double* values, Index count) {
      for (Index i = 0; i < count; ++i) values[i] = values[i] / norm * limit;
      parameter.write(begin, count, values);
    });
  return norm;
}

}  // namespace detail

/// Square root of the sum of the squares of all entries, in double, the largest taken out so that no square overflows.
/// Not finite if an entry is not.
template <class Model>
double global_norm(const Model& gradient) {
  return detail::norm_of(detail::views_of(gradient));
}

/// Scales the gradient so that its global norm is at most `limit`; returns the norm before. A gradient with an entry
/// that is not finite stays as it is, for the optimiser to refuse. Throws std::invalid_argument unless limit > 0;
/// whatever is thrown, also std::bad_alloc, the gradient is unchanged.
template <class Model>
double clip_global_norm(Model& gradient, double limit) {
  return detail::clip_norm_of(detail::views_of(gradient), limit);
}

MOE_NAMESPACE_END
