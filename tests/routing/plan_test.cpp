#include "moe/routing/plan.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <limits>
#include <vector>

#include "support/expect_invalid.hpp"

namespace moe {
namespace plan_test {

using support::expect_invalid;
using Indices = std::vector<Index>;

/// Tokens of width 1, experts, choices in order of priority.
struct Decision {
  Decision(Index tokens, Index experts, std::vector<Choice<float>> choices)
      : x_TD(Matrix<float>::Zero(tokens, 1)), batch(x_TD) {
    routing.reset(batch, experts);
    routing.choices = std::move(choices);
  }
  Decision(const Decision&) = delete;
  Decision& operator=(const Decision&) = delete;

  Plan<float> plan(const Capacity& capacity) const {
    Plan<float> plan;
    Routing<float> fated = routing;
    plan.build(batch, fated, capacity, true);
    return plan;
  }

  Matrix<float> x_TD;
  Batch<float> batch;
  Routing<float> routing;
};

/// Three tokens, two experts: all first choices, then the second choices of tokens 0 and 2. Expert 1 is chosen by
/// tokens 0, 1 and 2, in this order, expert 0 by 2 and 0.
struct Example : Decision {
  Example() : Decision(3, 2, {{0, 1, 1}, {1, 1, 2}, {2, 0, 3}, {0, 0, 4}, {2, 1, 5}}) {}
};

TEST(Plan, SlotsAreGroupedByExpertInOrderOfPriority) {
  const auto plan = Example().plan(Capacity::unlimited());
  EXPECT_EQ(plan.first_slot, (Indices{0, 2, 5}));
  EXPECT_EQ(plan.token, (Indices{2, 0, 0, 1, 2}));
  EXPECT_EQ(plan.choice, (Indices{2, 3, 0, 1, 4}));
  EXPECT_EQ(plan.weight, (std::vector<float>{3, 4, 1, 2, 5}));
}

TEST(Plan, TheSameSlotsAreListedByTokenInOrderOfPriority) {
  const auto plan = Example().plan(Capacity::unlimited());
  EXPECT_EQ(plan.first_of_token, (Indices{0, 2, 3, 5}));
  // Token 0: its choice of expert 1 (slot 2) came before that of expert 0 (slot 1).
  EXPECT_EQ(plan.token_slots, (Indices{2, 1, 3, 0, 4}));
}

TEST(Plan, CountsAreThoseOfTheArrays) {
  const auto plan = Example().plan(Capacity::unlimited());
  EXPECT_EQ(plan.slots(), 5);
  EXPECT_EQ(plan.experts(), 2);
  EXPECT_EQ(plan.tokens(), 3);
  EXPECT_EQ(plan.begin_of(1), 2);
  EXPECT_EQ(plan.rows_of(1), 3);
  EXPECT_EQ(plan.chosen, (Indices{2, 3}));
}

TEST(Plan, AFullExpertDropsTheLaterChoices) {
  const auto plan = Example().plan(Capacity::exactly(2));
  EXPECT_EQ(plan.dropped_choices, (Indices{4}));
  EXPECT_EQ(plan.token, (Indices{2, 0, 0, 1}));
  EXPECT_EQ(plan.first_of_token, (Indices{0, 2, 3, 4}));
  EXPECT_EQ(plan.chosen, (Indices{2, 3}));
}

TEST(Plan, ACapacityOfZeroDropsEveryChoice) {
  const auto plan = Example().plan(Capacity::exactly(0));
  EXPECT_EQ(plan.slots(), 0);
  EXPECT_EQ(plan.dropped_choices, (Indices{0, 1, 2, 3, 4}));
  EXPECT_EQ(plan.first_of_token, (Indices{0, 0, 0, 0}));
}

TEST(Plan, EveryGroupHasItsOwnRoom) {
  Decision decision(4, 2, {{0, 0, 1}, {1, 0, 1}, {2, 0, 1}, {3, 0, 1}});
  decision.batch.group_size = 2;
  const auto plan = decision.plan(Capacity::exactly(1));
  EXPECT_EQ(plan.token, (Indices{0, 2}));
  EXPECT_EQ(plan.dropped_choices, (Indices{1, 3}));
}

TEST(Plan, KeptWeightsAreDividedByTheirSumAndSoAreGradients) {
  Decision decision(2, 2, {{0, 0, .2f}, {1, 0, .5f}, {0, 1, .6f}, {1, 1, .25f}});
  DispatchOptions options;
  options.renormalize_kept = true;
  Plan<float> plan;
  plan.build(decision.batch, decision.routing, options, true);
  const float expected[] = {.25f, 2.f / 3, .75f, 1.f / 3};
  for (std::size_t slot = 0; slot < 4; ++slot) EXPECT_NEAR(plan.weight[slot], expected[slot], 1e-6f);
  // Slots 0 and 2 are token 0's: dp = (dw - (1 / 4 + 3 3 / 4)) / 0.8; 1 and 3 token 1's: (dw - (2 2 / 3 + 4 / 3)) /
  // 0.75.
  Vector<float> dweight_N{{1, 2, 3, 4}};
  Routing<float> drouting;
  drouting.reset_gradient(decision.routing);
  plan.backward(dweight_N, drouting);
  const float slopes[] = {-1.875f, -.888889f, .625f, 1.777778f};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(drouting.choices[i].weight, slopes[i], 1e-5f);
}

TEST(Plan, AnEmptyBatchHasNoSlots) {
  const auto plan = Decision(0, 3, {}).plan(Capacity::factor(1));
  EXPECT_EQ(plan.slots(), 0);
  EXPECT_EQ(plan.tokens(), 0);
  EXPECT_EQ(plan.rows_of(2), 0);
}

TEST(Plan, ASecondBuildForgetsTheFirst) {
  Plan<float> plan = Example().plan(Capacity::exactly(1));
  Decision decision(1, 1, {{0, 0, 9}});
  plan.build(decision.batch, decision.routing, Capacity::unlimited(), true);
  EXPECT_EQ(plan.token, (Indices{0}));
  EXPECT_EQ(plan.weight, (std::vector<float>{9}));
  EXPECT_TRUE(plan.dropped_choices.empty());
  EXPECT_EQ(plan.chosen, (Indices{1}));
}

TEST(Plan, AChoiceOfATokenThatDoesNotExistIsRefused) {
  expect_invalid(
      [] {
        Decision(2, 2, {{0, 0, 1}, {2, 0, 1}}).plan(Capacity::unlimited());
      },
      {"choice 1 names token 2 of 2"});
  expect_invalid([] { Decision(2, 2, {{-1, 0, 1}}).plan(Capacity::unlimited()); }, {"token -1"});
}

TEST(Plan, AChoiceOfAnExpertThatDoesNotExistIsRefused) {
  expect_invalid(
      [] {
        Decision(2, 2, {{1, 2, 1}}).plan(Capacity::unlimited());
      },
      {"choice 0 of token 1 names expert 2 of 2"});
  expect_invalid([] { Decision(2, 2, {{1, -7, 1}}).plan(Capacity::unlimited()); }, {"expert -7"});
}

TEST(Plan, AChoiceForPaddingIsRefused) {
  const Matrix<float> x_TD = Matrix<float>::Zero(2, 1);
  Batch<float> batch = x_TD;
  batch.valid = {1, 0};
  Routing<float> routing;
  routing.reset(batch, 2);
  routing.choices = {{0, 0, 1}, {1, 1, 1}};
  Plan<float> plan;
  support::expect_invalid([&] { plan.build(batch, routing, {}, false); }, {"choice 1", "token 1", "padding"});
}

}  // namespace plan_test
}  // namespace moe
