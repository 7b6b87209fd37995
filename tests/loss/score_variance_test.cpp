#include "moe/loss/score_variance.hpp"

#include <gtest/gtest.h>

#include "loss/decisions.hpp"

namespace moe {
namespace score_variance_test {

// Means .5, .5; squares .09 + 0 + .09 of each expert.
Routing<double> example() { return loss::decision(Matrix<double>{{.8, .2}, {.5, .5}, {.2, .8}}, {}); }

TEST(ScoreVarianceLoss, IsTheNegativeVariance) {
  EXPECT_NEAR(ScoreVarianceLoss{}.value(example()), -.06, 1e-15);
  EXPECT_EQ(ScoreVarianceLoss{}.value(loss::decision(Matrix<double>{{.8, .2}, {.8, .2}}, {})), 0);
  EXPECT_NEAR(ScoreVarianceLoss{}.value(loss::decision(Matrix<double>{{1, 0}, {0, 1}}, {})), -.25, 1e-15);
}

TEST(ScoreVarianceLoss, HasItsGradient) {
  const auto drouting = loss::gradient_of(ScoreVarianceLoss{}, example(), 3);
  // -2 scale (p - mean) / (E n)
  EXPECT_TRUE(drouting.probabilities_TE.isApprox(Matrix<double>{{-.3, .3}, {0, 0}, {.3, -.3}}, 1e-14));
}

TEST(ScoreVarianceLoss, PaddingDoesNotCountAndNothingIsZero) {
  auto routing = example();
  loss::mark_as_padding(routing, 1);
  EXPECT_NEAR(ScoreVarianceLoss{}.value(routing), -.09, 1e-15);
  const auto drouting = loss::gradient_of(ScoreVarianceLoss{}, routing, 1);
  EXPECT_EQ(drouting.probabilities_TE.row(1), (Matrix<double>::Zero(1, 2)));
  EXPECT_EQ(ScoreVarianceLoss{}.value(loss::decision(Matrix<double>(0, 2), {})), 0);
}

}  // namespace score_variance_test
}  // namespace moe
