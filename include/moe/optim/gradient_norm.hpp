// The norm of a gradient, and clipping by it.
#pragma once

#include <cmath>
#include <string_view>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/kernel/selection.hpp"

MOE_NAMESPACE_BEGIN

/// Square root of the sum of the squares of all entries, in double, the largest taken out so that no square overflows.
/// Not finite if an entry is not.
template <class Model>
double global_norm(const Model& gradient) {
  double largest = 0, squares = 0;
  for_each_parameter(
      [&](std::string_view, const auto& parameter) {
        for (Index i = 0; i < parameter.size(); ++i) {
          const auto size = std::abs(static_cast<double>(parameter.data()[i]));
          if (!(size <= largest)) largest = size;  // NaN stays
        }
      },
      gradient);
  if (largest == 0 || !detail::has_finite_bits(largest)) return largest;
  for_each_parameter(
      [&](std::string_view, const auto& parameter) {
        for (Index i = 0; i < parameter.size(); ++i) {
          const auto value = static_cast<double>(parameter.data()[i]) / largest;
          squares += value * value;
        }
      },
      gradient);
  return largest * std::sqrt(squares);
}

/// Scales the gradient so that its global norm is at most `limit`; returns the norm before. A gradient with an entry
/// that is not finite stays as it is, for the optimiser to refuse. Throws std::invalid_argument unless limit > 0;
/// whatever is thrown, also std::bad_alloc, the gradient is unchanged.
template <class Model>
double clip_global_norm(Model& gradient, double limit) {
  require(limit > 0, "clip_global_norm: the limit is ", limit, ", it must be more than 0");
  const double norm = global_norm(gradient);
  if (!detail::has_finite_bits(norm) || norm <= limit) return norm;
  detail::Updates updates;
  for_each_parameter(
      [&](std::string_view, auto& parameter) {
        using S = typename std::remove_cvref_t<decltype(parameter)>::Scalar;
        updates.add([norm, limit, values = parameter.data(), size = parameter.size()] {
          for (Index i = 0; i < size; ++i) values[i] = static_cast<S>(static_cast<double>(values[i]) / norm * limit);
        });
      },
      gradient);
  updates.run();
  return norm;
}

namespace detail {

/// Whether no entry is NaN or infinite.
template <class Model>
bool all_finite(const Model& model) {
  bool finite = true;
  for_each_parameter(
      [&](std::string_view, const auto& parameter) {
        for (Index i = 0; i < parameter.size() && finite; ++i) finite = has_finite_bits(parameter.data()[i]);
      },
      model);
  return finite;
}

/// Whether the squares of all entries are finite in the entries' own type.
template <class Model>
bool all_squares_finite(const Model& model) {
  bool finite = true;
  for_each_parameter(
      [&](std::string_view, const auto& parameter) {
        for (Index i = 0; i < parameter.size() && finite; ++i)
          finite = has_finite_bits(parameter.data()[i] * parameter.data()[i]);
      },
      model);
  return finite;
}

}  // namespace detail

MOE_NAMESPACE_END
