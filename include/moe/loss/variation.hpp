// The squared coefficient of variation, which the importance and load losses share.
#pragma once

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

/// Known systems differ in the variance of CV^2 = variance / (mean^2 + epsilon).
enum class Variance {
  population,  ///< divided by E (tensor2tensor, V-MoE)
  unbiased,    ///< divided by E - 1 (FastMoE, Tutel)
};

namespace detail {

/// CV^2 of the E values; 0 if there is but one, or if all are 0.
template <class S>
S squared_variation(const Vector<S>& value_E, Variance variance, double epsilon) {
  const Index count = value_E.size();
  const S divisor = static_cast<S>(variance == Variance::population ? count : count - 1);
  const S mean = value_E.sum() / static_cast<S>(count);
  const S square = mean * mean + static_cast<S>(epsilon);
  if (count == 1 || square == S(0)) return S(0);
  return (value_E.array() - mean).square().sum() / divisor / square;
}

/// With m the mean and v the variance: d CV^2 / d value_e = 2 (value_e - m) / divisor / (m^2 + eps)
///                                                          - 2 m v / count / (m^2 + eps)^2.
template <class S>
void squared_variation_gradient(const Vector<S>& value_E, Variance variance, double epsilon, Vector<S>& gradient_E) {
  const Index count = value_E.size();
  const S divisor = static_cast<S>(variance == Variance::population ? count : count - 1);
  const S mean = value_E.sum() / static_cast<S>(count);
  const S square = mean * mean + static_cast<S>(epsilon);
  gradient_E.setZero(count);
  if (count == 1 || square == S(0)) return;
  const S cv2 = squared_variation(value_E, variance, epsilon);
  gradient_E = (S(2) * (value_E.array() - mean) / divisor - S(2) * mean * cv2 / static_cast<S>(count)) / square;
}

}  // namespace detail

MOE_NAMESPACE_END
