#include "moe/loss/load_balance.hpp"

#include <gtest/gtest.h>

#include "loss/decisions.hpp"

namespace moe {
namespace {

using Count = LoadBalanceLoss::Count;

// Two tokens, two experts, k = 2. Mean probabilities (0.375, 0.625). First choices: both expert 1.
Routing<double> example() {
  return loss::decision(Matrix<double>{{0.25, 0.75}, {0.5, 0.5}},
                        {{0, 1, 0.75, 0}, {1, 1, 0.5, 0}, {0, 0, 0.25, 1}, {1, 0, 0.5, 1}});
}

TEST(LoadBalanceLoss, FirstChoicesAloneAreCounted) {
  // f = (0, 1): 2 * 0.625.
  EXPECT_EQ(LoadBalanceLoss{}.value(example()), 1.25);
}

TEST(LoadBalanceLoss, AllChoicesAreCountedPerToken) {
  // f = (1, 1): 2 * (0.375 + 0.625).
  EXPECT_EQ((LoadBalanceLoss{.count = Count::all_choices}.value(example())), 2);
}

TEST(LoadBalanceLoss, AllChoicesAreCountedPerChoice) {
  EXPECT_EQ((LoadBalanceLoss{.count = Count::all_choices_share}.value(example())), 1);
}

TEST(LoadBalanceLoss, EveryProbabilityGetsItsExpertsShare) {
  // E / T f = 2 / 2 (0, 1), times the scale.
  const auto drouting = loss::gradient_of(LoadBalanceLoss{}, example(), 3);
  EXPECT_EQ(drouting.probabilities_TE, (Matrix<double>{{0, 3}, {0, 3}}));
}

TEST(LoadBalanceLoss, PaddingDoesNotCount) {
  Routing<double> routing = loss::decision(Matrix<double>{{0.25, 0.75}, {9, 9}}, {{0, 1, 1, 0}});
  loss::mark_as_padding(routing, 1);
  EXPECT_EQ(LoadBalanceLoss{}.value(routing), 1.5);
  EXPECT_EQ(loss::gradient_of(LoadBalanceLoss{}, routing).probabilities_TE, (Matrix<double>{{0, 2}, {0, 0}}));
}

TEST(LoadBalanceLoss, OfNothingIsZero) {
  const auto empty = loss::decision(Matrix<double>(0, 2), {});
  EXPECT_EQ(LoadBalanceLoss{}.value(empty), 0);
  EXPECT_EQ(loss::gradient_of(LoadBalanceLoss{}, empty).probabilities_TE.size(), 0);
}

TEST(LoadBalanceLoss, OfTokensThatChoseNothingIsZero) {
  const auto routing = loss::decision(Matrix<double>{{0.5, 0.5}}, {});
  for (const auto count : {Count::first_choices, Count::all_choices, Count::all_choices_share})
    EXPECT_EQ((LoadBalanceLoss{.count = count}.value(routing)), 0);
}

}  // namespace
}  // namespace moe
