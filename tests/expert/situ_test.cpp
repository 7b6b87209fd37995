#include "moe/expert/situ.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "expert/pass.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/gradient_options.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace situ_test {

using support::expect_invalid;

/// Of one hidden unit, with a gate of g and an up projection of u.
double value(double g, double u, Situ form = {}) {
  SituGlu<double> expert{Matrix<double>{{1, 0}}, Matrix<double>{{0, 1}}, Matrix<double>{{1}, {0}}};
  expert.activation = form;
  return expert::Pass(expert, Matrix<double>{{g, u}}, Matrix<double>{{1, 0}}).y(0, 0);
}

TEST(Situ, GoldenNumbers) {
  EXPECT_NEAR(value(2, 3), 4.861066551, 1e-9);
  EXPECT_NEAR(value(-5, 60), -0.558475100, 1e-9);
}

TEST(Situ, FollowsTheFormula) {
  for (const double g : {-30.0, -4.0, 0.0, 1e-9, 3.0, 50.0})
    for (const double u : {-80.0, -1.0, 0.0, 2.0, 300.0}) {
      const double outer = 3 * std::tanh(g / 3) / (1 + std::exp(-g));
      EXPECT_NEAR(value(g, u, {.beta = 3, .linear_beta = 7}), outer * 7 * std::tanh(u / 7), 1e-13) << g << ' ' << u;
      EXPECT_NEAR(value(g, u, {.beta = 3, .linear_beta = 0}), outer * u, 1e-12) << g << ' ' << u;
    }
}

TEST(Situ, ALargeLimitIsSwiGlu) {
  EXPECT_NEAR(value(1.5, -2, {.beta = 1e8, .linear_beta = 1e8}), -3 / (1 + std::exp(-1.5)), 1e-12);
}

TEST(Situ, GradientsAreExact) {
  std::mt19937_64 generator{1};
  for (const Situ form : {Situ{}, Situ{.beta = 0.5, .linear_beta = 0.7}, Situ{.beta = 1, .linear_beta = 0}}) {
    const auto expert = SituGlu<double>::random(5, 20, generator, {.bias = true, .multiplier = true}, form);
    EXPECT_TRUE(testing::check_gradients(expert, support::random_matrix<double>(7, 5, 4), support::gradient_options()));
  }
}

TEST(Situ, LargeNumbersStayFiniteAndNaNStaysNaN) {
  std::mt19937_64 generator{1};
  const auto expert = SituGlu<float>::random(5, 20, generator);
  const Matrix<float> x = 1e18f * support::random_matrix<float>(7, 5, 4);
  const expert::Pass pass(expert, x, support::random_matrix<float>(7, 5, 5));
  EXPECT_TRUE(pass.y.allFinite());
  EXPECT_TRUE(pass.dx.allFinite());
  EXPECT_TRUE(std::isnan(value(support::nan_of<double>, 1)));
  EXPECT_TRUE(std::isnan(value(1, support::nan_of<double>)));
}

TEST(Situ, SettingsThatMakeNoSenseAreRefused) {
  expect_invalid([] { value(1, 1, {.beta = 0}); }, {"beta is 0"});
  expect_invalid([] { value(1, 1, {.beta = support::nan_of<double>}); }, {"beta is nan"});
  expect_invalid([] { value(1, 1, {.linear_beta = -1}); }, {"linear_beta is -1"});
}

}  // namespace situ_test
}  // namespace moe
