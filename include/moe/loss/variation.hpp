// The squared coefficient of variation, which the importance and load losses share.
#pragma once

#include <algorithm>

#include "moe/core/core.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"

MOE_NAMESPACE_BEGIN

/// Known systems differ in the variance of CV^2 = variance / (mean^2 + epsilon).
enum class Variance {
  population,  ///< divided by E (tensor2tensor, V-MoE)
  unbiased,    ///< divided by E - 1 (FastMoE, Tutel)
};

namespace detail {

/// What CV^2 is made of: the values' mean, mean^2 + epsilon, and what the squares' sum is divided by.
template <class S>
struct Variation {
  Index count;
  S mean, square, divisor;

  Variation(const Vector<S>& value_E, Variance variance, double epsilon)
      : count(value_E.size()),
        mean(sum_row(value_E.data(), count) / static_cast<S>(count)),
        square(mean * mean + static_cast<S>(epsilon)),
        divisor(static_cast<S>(variance == Variance::population ? count : count - 1)) {}

  /// Of a single value, or of nothing but zeros, CV^2 is 0 and has no slope.
  bool is_none() const { return count <= 1 || square == S(0); }

  S squared(const Vector<S>& value_E) const {
    S sum = 0;
    for (Index e = 0; e < count; ++e) sum += (value_E.data()[e] - mean) * (value_E.data()[e] - mean);
    return is_none() ? S(0) : sum / divisor / square;
  }
};

/// CV^2 of the E values; 0 if there is but one, or if all are 0.
template <class S>
S squared_variation(const Vector<S>& value_E, Variance variance, double epsilon) {
  return Variation<S>(value_E, variance, epsilon).squared(value_E);
}

/// Sums over tokens come in a wider type (W) than their gradient.
/// With m the mean and v the variance: d CV^2 / d value_e = 2 (value_e - m) / divisor / (m^2 + eps)
///                                                          - 2 m v / count / (m^2 + eps)^2.
template <class W, class S>
void squared_variation_gradient(const Vector<W>& value_E, Variance variance, double epsilon, Vector<S>& gradient_E) {
  const Variation<W> v(value_E, variance, epsilon);
  gradient_E.resize(v.count);
  std::fill_n(gradient_E.data(), v.count, S(0));
  if (v.is_none()) return;
  const W through_mean = W(2) * v.mean * v.squared(value_E) / static_cast<W>(v.count);
  for (Index e = 0; e < v.count; ++e)
    gradient_E.data()[e] = static_cast<S>((W(2) * (value_E.data()[e] - v.mean) / v.divisor - through_mean) / v.square);
}

}  // namespace detail

MOE_NAMESPACE_END
