#include "moe/loss/router_z.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "loss/decisions.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace router_z_test {

// Log-sum-exp: ln 4 and ln 2.
Routing<double> example() {
  auto routing = loss::decision(Matrix<double>::Constant(2, 2, 0.5), {});
  routing.logits_TE = Matrix<double>{{std::log(1.0), std::log(3.0)}, {0, 0}};
  return routing;
}

TEST(RouterZLoss, IsTheMeanSquareOfLogSumExp) {
  EXPECT_NEAR(RouterZLoss{}.value(example()), (std::pow(std::log(4.0), 2) + std::pow(std::log(2.0), 2)) / 2, 1e-15);
}

TEST(RouterZLoss, TheGradientIsTwiceLogSumExpTimesTheSoftmax) {
  const auto drouting = loss::gradient_of(RouterZLoss{}, example(), 2);
  // scale 2 * 2 z p / T
  EXPECT_TRUE(drouting.logits_TE.isApprox(
      Matrix<double>{{std::log(4.0) * 0.5, std::log(4.0) * 1.5}, {std::log(2.0), std::log(2.0)}}, 1e-14));
}

TEST(RouterZLoss, PaddingDoesNotCount) {
  auto routing = example();
  routing.logits_TE.row(0).setConstant(support::nan_of<double>);
  loss::mark_as_padding(routing, 0);
  EXPECT_NEAR(RouterZLoss{}.value(routing), std::pow(std::log(2.0), 2), 1e-15);
  EXPECT_EQ(loss::gradient_of(RouterZLoss{}, routing).logits_TE.row(0), (Matrix<double>{{0, 0}}));
}

TEST(RouterZLoss, OfNothingIsZero) {
  const auto empty = loss::decision(Matrix<double>(0, 2), {});
  EXPECT_EQ(RouterZLoss{}.value(empty), 0);
  EXPECT_EQ(loss::gradient_of(RouterZLoss{}, empty).logits_TE.size(), 0);
}

}  // namespace router_z_test
}  // namespace moe
