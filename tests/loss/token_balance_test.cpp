#include "moe/loss/token_balance.hpp"

#include <gtest/gtest.h>

#include "gating/route.hpp"
#include "loss/decisions.hpp"
#include "moe/gating/expert_choice.hpp"

namespace moe {
namespace token_balance_test {

// Two experts over three tokens: each column adds up to 1. Means by token: .4, .35, .25.
Routing<double> example() { return loss::decision(Matrix<double>{{.5, .3}, {.2, .5}, {.3, .2}}, {}); }

TEST(TokenBalanceLoss, IsTheSquaresOfTheTokensShares) {
  EXPECT_NEAR(TokenBalanceLoss{}.value(example()), 3 * (.16 + .1225 + .0625), 1e-15);
}

TEST(TokenBalanceLoss, IsOneWhereEveryTokenGetsTheSame) {
  const ExpertChoice gate{.softmax_axis = ExpertChoice::Axis::tokens};
  const Matrix<double> logits_TE = Matrix<double>::Zero(8, 2);
  EXPECT_NEAR(TokenBalanceLoss{}.value(gating::route(gate, logits_TE)), 1, 1e-15);
  EXPECT_NEAR(TokenBalanceLoss{}.value(gating::route(gate, logits_TE, {}, 4)), 1, 1e-15);
}

TEST(TokenBalanceLoss, HasItsGradient) {
  const auto drouting = loss::gradient_of(TokenBalanceLoss{}, example(), 2);
  // 2 scale n mean / E
  EXPECT_TRUE(drouting.probabilities_TE.isApprox(
      Matrix<double>{{6 * .4, 6 * .4}, {6 * .35, 6 * .35}, {6 * .25, 6 * .25}}, 1e-14));
}

TEST(TokenBalanceLoss, PaddingDoesNotCountAndNothingIsZero) {
  auto routing = example();
  loss::mark_as_padding(routing, 2);
  EXPECT_NEAR(TokenBalanceLoss{}.value(routing), 2 * (.16 + .1225), 1e-15);
  EXPECT_EQ(TokenBalanceLoss{}.value(loss::decision(Matrix<double>(0, 2), {})), 0);
}

}  // namespace token_balance_test
}  // namespace moe
