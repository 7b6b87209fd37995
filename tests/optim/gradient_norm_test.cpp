#include "moe/optim/gradient_norm.hpp"

#include <gtest/gtest.h>

#include "optim/toy.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace gradient_norm_test {

using optim::Toy;
using optim::toy;

TEST(GradientNorm, IsTheRootOfTheSumOfSquaresOfAllParameters) { EXPECT_EQ(global_norm(toy(2, -3, 6)), 7); }

TEST(GradientNorm, OfLargeFloatsDoesNotOverflow) { EXPECT_NEAR(global_norm(toy(0, 0, 3e38f)) / 3e38, 1, 1e-7); }

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
