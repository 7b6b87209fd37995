#include "moe/loss/variation.hpp"

#include <gtest/gtest.h>

namespace moe {
namespace variation_test {

using detail::squared_variation;

const Vector<double> values{{1, 3}};  // mean 2, squares of the deviations 1 + 1

Vector<double> gradient(const Vector<double>& of, Variance variance, double epsilon) {
  Vector<double> result;
  detail::squared_variation_gradient(of, variance, epsilon, result);
  return result;
}

TEST(Variation, IsTheVarianceOverTheSquaredMean) {
  EXPECT_EQ(squared_variation(values, Variance::population, 0), 0.25);
  EXPECT_EQ(squared_variation(values, Variance::unbiased, 0), 0.5);
}

TEST(Variation, EpsilonIsAddedToTheSquaredMean) { EXPECT_EQ(squared_variation(values, Variance::population, 1), 0.2); }

TEST(Variation, EqualValuesHaveNone) {
  EXPECT_EQ(squared_variation<double>(Vector<double>::Constant(5, 3), Variance::unbiased, 0), 0);
}

TEST(Variation, ASingleValueHasNone) {
  for (const auto variance : {Variance::population, Variance::unbiased}) {
    EXPECT_EQ(squared_variation<double>(Vector<double>::Constant(1, 3), variance, 0), 0);
    EXPECT_EQ(gradient(Vector<double>::Constant(1, 3), variance, 0)(0), 0);
  }
}

TEST(Variation, ZerosHaveNone) {
  EXPECT_EQ(squared_variation<double>(Vector<double>::Zero(3), Variance::population, 0), 0);
  EXPECT_EQ(gradient(Vector<double>::Zero(3), Variance::population, 0), Vector<double>::Zero(3));
}

TEST(Variation, TheGradientIsThatOfTheQuotient) {
  // ((a - b) / (a + b))^2 at (1, 3): 2 (a - b) / (a + b) * (2 b, -2 a) / (a + b)^2 = -1 * (6, -2) / 16.
  EXPECT_TRUE(gradient(values, Variance::population, 0).isApprox(Vector<double>{{-0.375, 0.125}}, 1e-15));
  EXPECT_TRUE(gradient(values, Variance::unbiased, 0).isApprox(Vector<double>{{-0.75, 0.25}}, 1e-15));
}

}  // namespace variation_test
}  // namespace moe
