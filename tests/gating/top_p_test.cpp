#include "moe/gating/top_p.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gating/route.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace top_p_test {

Matrix<double> logits() {
  const Matrix<double> p{{.5, .3, .2}, {.1, .8, .1}, {.25, .25, .5}};
  return p.array().log();
}

TEST(TopP, AsFewExpertsAsReachTheShare) {
  const auto routing = gating::route(TopP{.p = .75}, logits());
  // First choices of all, then the second ones of tokens 0 (.5 + .3) and 2 (.5 + .25, a tie for the lower expert).
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0, 1, 2, 0, 2}));
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 1, 2, 1, 0}));
  EXPECT_NEAR(routing.choices[3].weight, .3, 1e-15);
  EXPECT_EQ(routing.choices_per_token, 0);
}

TEST(TopP, OrAsManyAsStayBelowTheShare) {
  const auto routing = gating::route(TopP{.p = .81, .stay_below = true}, logits());
  // .5 + .3; .8 alone; .5 + .25.
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0, 1, 2, 0, 2}));
  EXPECT_EQ(gating::route(TopP{.p = .6, .stay_below = true}, logits()).choices.size(), 3u);
}

TEST(TopP, TheFirstIsAlwaysKept) { EXPECT_EQ(gating::route(TopP{.p = 1e-9}, logits()).choices.size(), 3u); }

TEST(TopP, AShareOfOneTakesAllAndMostIsALimit) {
  EXPECT_EQ(gating::route(TopP{.p = 1, .most = 2}, logits()).choices.size(), 6u);
}

TEST(TopP, SettingsOutOfRangeAreRefused) {
  support::expect_invalid([] { TopP{.p = 0}.check(4); }, {"p is 0"});
  support::expect_invalid([] { TopP{.p = 1.5}.check(4); }, {"p is 1.5"});
  support::expect_invalid([] { (TopP{.p = .5, .most = 5}.check(4)); }, {"most is 5"});
}

TEST(TopP, ProbabilitiesMayBeDividedAsInTopK) {
  const Matrix<double> logits = Matrix<double>{{.4, .3, .2, .1}}.array().log();
  const auto routing =
      gating::route(TopP{.p = .65, .weights = ChoiceWeights::renormalized({.epsilon = .25, .norm = 2})}, logits);
  EXPECT_EQ(routing.choices.size(), 2u);
  EXPECT_NEAR(routing.choices[0].weight, .4 / (.5 + .25), 1e-15);
}

}  // namespace top_p_test
}  // namespace moe
