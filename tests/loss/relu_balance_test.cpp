#include "moe/loss/relu_balance.hpp"

#include <gtest/gtest.h>

#include "gating/route.hpp"
#include "loss/decisions.hpp"
#include "moe/gating/relu_routing.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace relu_balance_test {

const Matrix<double> golden{{.5, -.2, .1, -1}, {-.3, .4, .2, 0}, {1, .3, -.1, -.5}, {-.2, -.4, -.6, .7}};

TEST(ReluBalanceLoss, GoldenNumber) {
  EXPECT_NEAR(ReluBalanceLoss{}.value(gating::route(ReluRouting{}, golden)), 1.425, 1e-14);
  EXPECT_NEAR(ReluBalanceLoss{.k = 2}.value(gating::route(ReluRouting{}, golden)), 1.425 / 2, 1e-14);
}

TEST(ReluBalanceLoss, HasItsGradient) {
  const auto drouting = loss::gradient_of(ReluBalanceLoss{}, gating::route(ReluRouting{}, golden), 2);
  // scale E n_e / (k n^2): 2 of expert 0 for the first choice, 1 of expert 3 for the last
  EXPECT_NEAR(drouting.choices.front().weight, 2 * 4 * 2 / 16., 1e-15);
  EXPECT_NEAR(drouting.choices.back().weight, 2 * 4 * 1 / 16., 1e-15);
}

TEST(ReluBalanceLoss, PaddingDoesNotCountAndNothingIsZero) {
  const std::vector<std::uint8_t> valid{1, 1, 0, 1};
  Matrix<double> without(3, 4);
  without << golden.topRows(2), golden.row(3);
  EXPECT_EQ(ReluBalanceLoss{}.value(gating::route(ReluRouting{}, golden, valid)),
            ReluBalanceLoss{}.value(gating::route(ReluRouting{}, without)));
  EXPECT_EQ(ReluBalanceLoss{}.value(loss::decision(Matrix<double>(0, 2), {})), 0);
}

TEST(ReluBalanceLoss, KMustFit) {
  support::expect_invalid([] { ReluBalanceLoss{.k = 5}.check(4); }, {"k is 5", "4"});
  support::expect_invalid([] { ReluBalanceLoss{.k = 0}.check(4); }, {"k is 0"});
}

}  // namespace relu_balance_test
}  // namespace moe
