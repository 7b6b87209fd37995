#include "moe/optim/gradient_norm.hpp"

#include <gtest/gtest.h>

#include <random>

#include "moe/core/random.hpp"
#include "moe/core/team.hpp"
#include "optim/toy.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace gradient_norm_test {

using optim::Toy;
using optim::toy;

TEST(GradientNorm, IsTheRootOfTheSumOfSquaresOfAllParameters) { EXPECT_EQ(global_norm(toy(2, -3, 6)), 7); }

TEST(GradientNorm, OfLargeFloatsDoesNotOverflow) { EXPECT_NEAR(global_norm(toy(0, 0, 3e38f)) / 3e38, 1, 1e-7); }

TEST(GradientNorm, SquaresThatOverflowOrVanishAreNoObstacle) {
  EXPECT_NEAR(global_norm(toy(3e200, -4e200, 0)) / 5e200, 1, 1e-15);
  EXPECT_NEAR(global_norm(toy(3e-200, -4e-200, 0)) / 5e-200, 1, 1e-15);
  EXPECT_NEAR(global_norm(toy(3e-320, 0, 0)) / 3e-320, 1, 1e-3);
  EXPECT_EQ(global_norm(toy(0, 0, 0)), 0);
  EXPECT_EQ(global_norm(toy(1.7e308, 1.7e308, 0)), support::infinity_of<double>);
}

TEST(GradientNorm, IsThatOfTheSumInDouble) {
  std::mt19937_64 rng(1);
  Toy gradient{random_matrix<double>(300, 700, rng), random_matrix<float>(70'001, 1, rng)};
  gradient.weight(299, 699) = 1e4;  // no block is passed over
  const double expected = flatten(gradient).norm();
  EXPECT_NEAR(global_norm(gradient) / expected, 1, 1e-13);
  EXPECT_EQ(global_norm(gradient, Serial{}), global_norm(gradient, Team{2}));
}

TEST(GradientNorm, WhatIsFrozenIsNotCounted) {
  const Toy gradient = toy(3, support::nan_of<double>, 4);
  EXPECT_EQ(global_norm(gradient, {"weight"}), 4);
  EXPECT_EQ(global_norm(gradient, Frozen::all_but({"bias"}), Serial{}), 4);
  support::expect_invalid([&] { global_norm(gradient, {"wieght"}); }, {"'wieght'"});
}

TEST(GradientNorm, WhatIsFrozenIsNotClipped) {
  Toy gradient = toy(1000, 1000, 4);
  EXPECT_EQ(clip_global_norm(gradient, 1, {"weight"}), 4);
  EXPECT_EQ(flatten(gradient), (Vector<double>{{1000, 1000, 1}}));
}

TEST(GradientNorm, AGradientTooLongForAFactorOfItsTypeIsClippedInDouble) {
  Toy gradient = toy(0, 0, 3e38f);
  clip_global_norm(gradient, 1e-4);
  EXPECT_NEAR(gradient.bias(0), 1e-4, 1e-10);
}

TEST(GradientNorm, ClippingScalesALongGradientToTheLimit) {
  Toy gradient = toy(2, -3, 6);
  EXPECT_EQ(clip_global_norm(gradient, 3.5), 7);
  EXPECT_EQ(flatten(gradient), (Vector<double>{{1, -1.5, 3}}));
}

TEST(GradientNorm, ClippingLeavesAShortGradientAlone) {
  Toy gradient = toy(2, -3, 6);
  EXPECT_EQ(clip_global_norm(gradient, 7), 7);
  EXPECT_EQ(flatten(gradient), (Vector<double>{{2, -3, 6}}));
}

TEST(GradientNorm, ClippingLeavesAGradientOfInfiniteNormForTheOptimiserToRefuse) {
  const Toy infinite = toy(1, 2, support::infinity_of<float>);
  Toy gradient = infinite;
  EXPECT_EQ(clip_global_norm(gradient, 1), support::infinity_of<double>);
  EXPECT_TRUE(support::same_parameters(gradient, infinite));
}

TEST(GradientNorm, ClippingLeavesAGradientWithNaNForTheOptimiserToRefuse) {
  const Toy nan = toy(1, support::nan_of<double>, 3);
  Toy gradient = nan;
  EXPECT_FALSE(clip_global_norm(gradient, 1) < support::infinity_of<double>);
  EXPECT_TRUE(support::same_parameters(gradient, nan));
}

TEST(GradientNorm, ALimitThatIsNotPositiveIsRefused) {
  Toy gradient = toy(1, 2, 3);
  for (const double limit : {0.0, -1.0, support::nan_of<double>})
    support::expect_invalid([&] { clip_global_norm(gradient, limit); }, {"the limit is"});
  EXPECT_EQ(flatten(gradient), (Vector<double>{{1, 2, 3}}));
}

}  // namespace gradient_norm_test
}  // namespace moe
