#include "moe/expert/clamped_swiglu.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "expert/pass.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/gradient_options.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace clamped_swiglu_test {

using support::expect_invalid;

// One hidden unit: x is the gate, 3 x the up projection.
ClampedSwiGlu<double> unit(ClampedSilu form) {
  ClampedSwiGlu<double> expert{Matrix<double>{{1}}, Matrix<double>{{3}}, Matrix<double>{{1}}};
  expert.activation = form;
  return expert;
}

double value(ClampedSilu form, double x) {
  return expert::Pass(unit(form), Matrix<double>{{x}}, Matrix<double>{{1}}).y(0, 0);
}

TEST(ClampedSwiGlu, FollowsTheFormulaOfGptOss) {
  const ClampedSilu form{.alpha = 1.702, .limit = 7, .offset = 1};
  for (const double x : {-9.0, -7.0, -3.0, -1.0, 0.0, 0.5, 2.0, 2.5, 6.9, 7.1, 20.0}) {
    const double gate = (std::min)(x, 7.0), up = std::clamp(3 * x, -7.0, 7.0);
    EXPECT_NEAR(value(form, x), gate / (1 + std::exp(-1.702 * gate)) * (up + 1), 1e-13) << x;
  }
}

TEST(ClampedSwiGlu, FollowsTheFormulaOfDeepSeekV4) {
  for (const double x : {-30.0, -11.0, -4.0, 0.5, 3.0, 4.0, 11.0, 50.0}) {
    const double gate = (std::min)(x, 10.0), up = std::clamp(3 * x, -10.0, 10.0);
    EXPECT_NEAR(value({.limit = 10}, x), gate / (1 + std::exp(-gate)) * up, 1e-13) << x;
  }
}

TEST(ClampedSwiGlu, WithoutSettingsItIsSwiGlu) {
  std::mt19937_64 one{1}, same{1};
  const auto clamped = ClampedSwiGlu<float>::random(6, 20, one, {.bias = true});
  const auto plain = SwiGlu<float>::random(6, 20, same, {.bias = true});
  const auto x = support::random_matrix<float>(9, 6, 2), dy = support::random_matrix<float>(9, 6, 3);
  const expert::Pass a(clamped, x, dy);
  const expert::Pass b(plain, x, dy);
  EXPECT_EQ(a.y, b.y);
  EXPECT_LT((a.dx - b.dx).cwiseAbs().maxCoeff(), 1e-5f);
}

TEST(ClampedSwiGlu, WhatIsCutPassesNoGradient) {
  const ClampedSilu form{.limit = 6};
  const auto dx = [&](double x) { return expert::Pass(unit(form), Matrix<double>{{x}}, Matrix<double>{{1}}).dx(0, 0); };
  const double slope = (1 + 3 / (1 + std::exp(3.0))) / (1 + std::exp(-3.0));
  EXPECT_NEAR(dx(3), 6 * slope, 1e-13);  // up = 9 is cut, the gate is not
  EXPECT_EQ(dx(7), 0);                   // both are cut
  const double at_limit = 2 / (1 + std::exp(-2.0)), its_slope = (1 + 2 / (1 + std::exp(2.0))) / (1 + std::exp(-2.0));
  EXPECT_NEAR(dx(2), 6 * its_slope + 3 * at_limit, 1e-13);  // up = 6 is not cut yet
}

TEST(ClampedSwiGlu, GradientsAreExact) {
  std::mt19937_64 generator{1};
  for (const ClampedSilu form : {ClampedSilu{}, ClampedSilu{.alpha = 1.702, .limit = 1, .offset = 1},
                                 ClampedSilu{.limit = 0.7}, ClampedSilu{.alpha = 0.01, .offset = -0.3}}) {
    const auto expert = ClampedSwiGlu<double>::random(5, 20, generator, {.bias = true, .multiplier = true}, form);
    EXPECT_TRUE(testing::check_gradients(expert, support::random_matrix<double>(7, 5, 4), support::gradient_options()));
  }
}

TEST(ClampedSwiGlu, NaNIsNotCut) {
  EXPECT_TRUE(std::isnan(value({.limit = 7}, support::nan_of<double>)));
  EXPECT_EQ(value({.limit = 7, .offset = 1}, support::infinity_of<double>), value({.limit = 7, .offset = 1}, 1e9));
}

TEST(ClampedSwiGlu, EveryExpertOfAListGetsTheSettings) {
  std::mt19937_64 generator{1};
  const auto experts =
      make_experts<ClampedSwiGlu<float>>(3, 4, 5, generator, ExpertOptions{}, ClampedSilu{.limit = 10});
  for (const auto& expert : experts) EXPECT_EQ(expert.activation.limit, 10);
}

TEST(ClampedSwiGlu, SettingsThatMakeNoSenseAreRefused) {
  expect_invalid([] { unit({.alpha = 0}).check(1); }, {"alpha is 0"});
  expect_invalid([] { unit({.alpha = support::nan_of<double>}).check(1); }, {"alpha is nan"});
  expect_invalid([] { unit({.limit = -1}).check(1); }, {"limit is -1"});
  expect_invalid([] { unit({.limit = support::infinity_of<double>}).check(1); }, {"limit is inf"});
  expect_invalid([] { unit({.offset = support::nan_of<double>}).check(1); }, {"offset is nan"});
}

}  // namespace clamped_swiglu_test
}  // namespace moe
