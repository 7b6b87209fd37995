#include "moe/expert/activations.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>

#include "support/matrices.hpp"

namespace moe {
namespace activations_test {

// Nine points on either side of 0, with 0 itself.
Chunk<double> points() {
  const double values[panel_width] = {-30, -6, -3, -1.5, -1, -0.5, -1e-3, -1e-9, 0, 1e-9, 1e-3, 0.5, 1, 2, 6, 30};
  return Chunk<double>::load(values);
}

template <class Activation, class F>
void expect_values(F&& f) {
  const Chunk<double> x = points(), y = Activation::template value<double>(x);
  for (Index i = 0; i < panel_width; ++i) EXPECT_NEAR(y[i], f(x[i]), 1e-14 * (1 + std::abs(f(x[i])))) << "at " << x[i];
}

template <class Activation>
void expect_derivatives_of_the_value() {
  const double step = 1e-4;
  const Chunk<double> x = points(), dy = Activation::template derivative<double>(x);
  const auto value = [](const Chunk<double>& at) -> Chunk<double> { return Activation::template value<double>(at); };
  const Chunk<double> one = (value(x + step) - value(x - step)) / (2 * step);
  const Chunk<double> two = (value(x + 2 * step) - value(x - 2 * step)) / (4 * step);
  for (Index i = 0; i < panel_width; ++i) EXPECT_NEAR(dy[i], (4 * one[i] - two[i]) / 3, 1e-9) << "at " << x[i];
}

template <class Activation, class S>
void expect_finite_tails() {
  const Chunk<S> x = S(10000) - S(20000) * detail::first_ones<S>(8);
  const Chunk<S> y = Activation::template value<S>(x), dy = Activation::template derivative<S>(x);
  for (Index i = 0; i < panel_width; ++i) {
    EXPECT_NEAR(y[i], i < 8 ? S(0) : S(10000), S(1e-25)) << i;
    EXPECT_NEAR(dy[i], i < 8 ? S(0) : S(1), S(1e-25)) << i;
  }
}

// Every power of 2 that is a number, denormals too, and both signs. The least derivative is that of GeluTanh, -0.13.
template <class Activation, class S>
void expect_bounded_at_every_magnitude() {
  using Limits = std::numeric_limits<S>;
  for (int power = Limits::min_exponent - Limits::digits; power < Limits::max_exponent; ++power)
    for (const S x : {std::ldexp(S(1.999), power), -std::ldexp(S(1.999), power)}) {
      const Chunk<S> chunk = x;
      const S y = Activation::template value<S>(chunk)[5], dy = Activation::template derivative<S>(chunk)[5];
      EXPECT_TRUE(y >= (std::max)(x, S(0)) - S(0.5) && std::abs(y) <= std::abs(x)) << y << " at " << x;
      EXPECT_TRUE(dy >= S(-0.2) && dy <= S(1.2)) << dy << " at " << x;
      if (x < -1e4) {
        EXPECT_NEAR(y, 0, 1e-25) << "at " << x;
      }
    }
}

template <class Activation>
void expect_bounded_at_every_magnitude() {
  expect_bounded_at_every_magnitude<Activation, float>();
  expect_bounded_at_every_magnitude<Activation, double>();
}

template <class Activation>
void expect_nan_stays() {
  float values[panel_width] = {1, 1, 1, support::nan_of<float>};
  const Chunk<float> x = Chunk<float>::load(values);
  const Chunk<float> y = Activation::template value<float>(x), dy = Activation::template derivative<float>(x);
  const bool is_step = std::is_same_v<Activation, Relu>;
  for (Index i = 0; i < panel_width; ++i) {
    EXPECT_EQ(std::isnan(y[i]), i == 3) << i;
    EXPECT_EQ(std::isnan(dy[i]), i == 3 && !is_step) << i;
  }
}

TEST(Activations, ReluIsThePositivePart) {
  expect_values<Relu>([](double x) { return x > 0 ? x : 0; });
}

TEST(Activations, TheDerivativeOfReluAtZeroIsZero) {
  const Chunk<float> dy = Relu::derivative<float>(0);
  for (Index i = 0; i < panel_width; ++i) EXPECT_EQ(dy[i], 0);
}

TEST(Activations, GeluIsTheArgumentTimesTheNormalDistribution) {
  expect_values<Gelu>([](double x) { return x * std::erfc(-x / std::numbers::sqrt2) / 2; });
  expect_derivatives_of_the_value<Gelu>();
}

// A unit in the last place of the exponent, x^2 / 2, is one part in 2^23 of it.
TEST(Activations, GeluOfFloatsKeepsItsRelativePrecisionInTheLeftTail) {
  for (float x = -12.5f; x < 8; x += 0.0371f) {
    const Chunk<float> at = x;
    const double phi = std::erfc(-x / std::numbers::sqrt2) / 2, tolerance = 5e-7 * (1 + x * x / 2);
    EXPECT_NEAR(Gelu::value<float>(at)[7] / (x * phi), 1, tolerance) << "at " << x;
    const double density = std::exp(-x * x / 2.0) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
    EXPECT_NEAR(Gelu::derivative<float>(at)[9], phi + x * density, 5e-7) << "at " << x;
  }
}

TEST(Activations, GeluOfFloatsEndsInZero) {
  for (const float x : {-13.5f, -1e3f, -3e38f, -std::numeric_limits<float>::infinity()}) {
    const Chunk<float> at = x;
    EXPECT_EQ(Gelu::value<float>(at)[0], 0) << x;
    EXPECT_NEAR(Gelu::derivative<float>(at)[0], 0, 1e-30) << x;
  }
}

TEST(Activations, GeluTanhIsTheTanhApproximation) {
  expect_values<GeluTanh>(
      [](double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))); });
  expect_derivatives_of_the_value<GeluTanh>();
}

TEST(Activations, SiluIsTheArgumentTimesTheLogisticFunction) {
  expect_values<Silu>([](double x) { return x / (1 + std::exp(-x)); });
  expect_derivatives_of_the_value<Silu>();
}

TEST(Activations, SquaredReluIsTheSquareOfThePositivePart) {
  expect_values<SquaredRelu>([](double x) { return x > 0 ? x * x : 0; });
  const Chunk<double> dy = SquaredRelu::derivative<double>(points());
  for (Index i = 0; i < panel_width; ++i) EXPECT_EQ(dy[i], 2 * (std::max)(points()[i], 0.0));
}

TEST(Activations, SigmoidIsTheLogisticFunction) {
  expect_values<Sigmoid>([](double x) { return 1 / (1 + std::exp(-x)); });
  expect_derivatives_of_the_value<Sigmoid>();
}

TEST(Activations, TanhIsTheHyperbolicTangent) {
  expect_values<Tanh>([](double x) { return std::tanh(x); });
  expect_derivatives_of_the_value<Tanh>();
}

TEST(Activations, TheDerivativesOfBoundedFunctionsKeepTheirPrecisionInBothTails) {
  const Chunk<double> at = 40, sigmoid = Sigmoid::derivative<double>(at), tanh = Tanh::derivative<double>(at / 2);
  EXPECT_NEAR(sigmoid[0] / std::exp(-40.0), 1, 1e-12);
  EXPECT_NEAR(tanh[0] / (4 * std::exp(-40.0)), 1, 1e-12);
  EXPECT_EQ(Sigmoid::derivative<double>(-at)[0], sigmoid[0]);
}

TEST(Activations, IdentityIsTheArgument) {
  expect_values<Identity>([](double x) { return x; });
  expect_derivatives_of_the_value<Identity>();
}

TEST(Activations, TheBoundedStayBoundedAtEveryMagnitude) {
  for (const float x : {1e4f, -1e4f, 3e38f, -3e38f}) {
    const Chunk<float> at = x;
    EXPECT_NEAR(Sigmoid::value<float>(at)[0], x > 0 ? 1 : 0, 1e-30) << x;
    EXPECT_EQ(Tanh::value<float>(at)[0], x > 0 ? 1 : -1) << x;
    EXPECT_NEAR(Sigmoid::derivative<float>(at)[0], 0, 1e-30) << x;
    EXPECT_NEAR(Tanh::derivative<float>(at)[0], 0, 1e-30) << x;
  }
}

TEST(Activations, TheTailsAreTheArgumentAndZero) {
  expect_finite_tails<Relu, float>();
  expect_finite_tails<Gelu, float>();
  expect_finite_tails<GeluTanh, float>();
  expect_finite_tails<Silu, float>();
  expect_finite_tails<Gelu, double>();
  expect_finite_tails<GeluTanh, double>();
  expect_finite_tails<Silu, double>();
}

TEST(Activations, NoFiniteArgumentOverflows) {
  expect_bounded_at_every_magnitude<Relu>();
  expect_bounded_at_every_magnitude<Gelu>();
  expect_bounded_at_every_magnitude<GeluTanh>();
  expect_bounded_at_every_magnitude<Silu>();
}

TEST(Activations, NaNStaysNaN) {
  expect_nan_stays<Relu>();
  expect_nan_stays<Gelu>();
  expect_nan_stays<GeluTanh>();
  expect_nan_stays<Silu>();
  expect_nan_stays<Sigmoid>();
  expect_nan_stays<Tanh>();
  expect_nan_stays<SquaredRelu>();
}

TEST(Activations, TheLogisticFunctionIsSymmetric) {
  const Chunk<double> x = points(), sum = detail::sigmoid<double>(x) + detail::sigmoid<double>(-x);
  EXPECT_LT((sum - 1).abs().maxCoeff(), 1e-15);
}

TEST(Activations, TanhKeepsItsPrecisionNearZero) {
  for (const float x : {1e-8f, 1e-4f, -1e-3f, 0.3f, -2.0f, 7.0f})
    EXPECT_NEAR(Tanh::value<float>(x)[3] / std::tanh(x), 1, 5e-7);
}

}  // namespace activations_test
}  // namespace moe
