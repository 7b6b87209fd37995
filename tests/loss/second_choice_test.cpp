#include "moe/loss/second_choice.hpp"

#include <gtest/gtest.h>

#include "loss/decisions.hpp"

namespace moe {
namespace second_choice_test {

// Without the first choices, (.5, .3, .2) is (0, .6, .4), and (.25, .5, .25) is (.5, 0, .5). Second choices: 1 and 0.
Routing<double> example() {
  return loss::decision(Matrix<double>{{.5, .3, .2}, {.25, .5, .25}},
                        {{0, 0, .5, 0}, {1, 1, .5, 0}, {0, 1, .3, 1}, {1, 0, .25, 1}});
}

TEST(SecondChoiceLoss, SharesOfSecondChoicesMeetProbabilitiesWithoutTheFirst) {
  // f = (1/2, 1/2, 0), P = (.25, .3, .45).
  EXPECT_NEAR((SecondChoiceLoss{.epsilon = 0}.value(example())), 3 * (.5 * .25 + .5 * .3), 1e-15);
}

TEST(SecondChoiceLoss, TheFirstChoiceLearnsNothing) {
  // Token 0: dq = 3 / 4 (1, 1, 0), sum dq q = .45, s = .5.
  const auto drouting = loss::gradient_of(SecondChoiceLoss{.epsilon = 0}, example(), 2);
  EXPECT_TRUE(
      drouting.probabilities_TE.row(0).isApprox(Matrix<double>{{0, 2 * (.75 - .45) / .5, 2 * (0 - .45) / .5}}, 1e-14));
}

TEST(SecondChoiceLoss, PaddingDoesNotCountAndNothingIsZero) {
  auto routing = example();
  routing.choices = {{0, 0, .5, 0}, {0, 1, .3, 1}};
  loss::mark_as_padding(routing, 1);
  EXPECT_NEAR((SecondChoiceLoss{.epsilon = 0}.value(routing)), 3 * .6, 1e-15);
  EXPECT_EQ(SecondChoiceLoss{}.value(loss::decision(Matrix<double>(0, 2), {})), 0);
}

TEST(SecondChoiceLoss, EpsilonIsAddedToTheSum) {
  // Token 0: (0, .3, .2) / (.5 + .5); token 1: (.25, 0, .25) / (.5 + .5). P = (.125, .15, .225).
  const SecondChoiceLoss loss{.epsilon = .5};
  EXPECT_NEAR(loss.value(example()), 3 * (.5 * .125 + .5 * .15), 1e-15);
  // Token 0: dq = 3 / 4 (1, 1, 0), sum dq q = .225, divided by 1.
  const auto drouting = loss::gradient_of(loss, example());
  EXPECT_TRUE(drouting.probabilities_TE.row(0).isApprox(Matrix<double>{{0, .75 - .225, -.225}}, 1e-14));
}

}  // namespace second_choice_test
}  // namespace moe
