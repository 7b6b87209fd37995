#include "moe/loss/load_balance.hpp"

#include <gtest/gtest.h>

#include <string>

#include "loss/decisions.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/gating/top_p.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace load_balance_test {

using Count = LoadBalanceLoss::Count;
using support::expect_invalid;

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

TEST(LoadBalanceLoss, KeptFirstChoicesDivideBothMeans) {
  // FastMoE: token 1's choice is dropped, so f = (0, 1), P = (0.75, 1.25) / 1.
  auto routing = example();
  routing.choices[1].fate = Fate::dropped;
  const LoadBalanceLoss loss{.count = Count::kept_first_choices_share};
  EXPECT_EQ(loss.value(routing), 2.5);
  EXPECT_EQ(loss::gradient_of(loss, routing).probabilities_TE, (Matrix<double>{{0, 2}, {0, 2}}));
}

/// The groups of a batch are worth what they are worth by themselves, whatever the order of the choices.
TEST(LoadBalanceLoss, OverSequencesIsTheMeanOfTheSequences) {
  const Matrix<double> p{{.25, .75}, {.5, .5}, {.875, .125}, {.75, .25}};
  for (const auto count : {Count::first_choices, Count::all_choices}) {
    auto whole = loss::decision(p, {{3, 0, 1, 0}, {1, 1, 1, 0}, {2, 0, 1, 0}, {0, 1, 1, 0}, {0, 0, 1, 1}});
    whole.group_size = 2;
    const auto first = loss::decision(p.topRows(2), {{0, 1, 1, 0}, {1, 1, 1, 0}, {0, 0, 1, 1}});
    const auto second = loss::decision(p.bottomRows(2), {{0, 0, 1, 0}, {1, 0, 1, 0}});
    const LoadBalanceLoss loss{.count = count};
    EXPECT_EQ((LoadBalanceLoss{.count = count, .scope = LoadBalanceLoss::Scope::sequence}.value(whole)),
              (loss.value(first) + loss.value(second)) / 2);
  }
}

TEST(LoadBalanceLoss, EarlierMicroBatchesCount) {
  const auto first = loss::decision(Matrix<double>{{.25, .75}, {.5, .5}}, {{0, 1, 1, 0}, {1, 1, 1, 0}});
  const auto second = loss::decision(Matrix<double>{{.75, .25}, {.5, .5}}, {{0, 0, 1, 0}, {1, 1, 1, 0}});
  for (const auto count : {Count::first_choices, Count::all_choices_share}) {
    LoadBalanceLoss loss{.count = count};
    loss.add_earlier(first);
    EXPECT_EQ(loss.earlier.total, 2);
    // f = (1, 3) / 4 over both, P of the second: E / T f = (1/4, 3/4).
    EXPECT_EQ(loss.value(second), 2 * (.25 * .625 + .75 * .375));
    EXPECT_EQ(loss::gradient_of(loss, second).probabilities_TE, (Matrix<double>{{.25, .75}, {.25, .75}}));
    auto both = loss;
    both.add_earlier(second);
    EXPECT_EQ(both.earlier.count_E, (Vector<double>{{1, 3}}));
    EXPECT_EQ(both.earlier.total, 4);
    loss.scope = LoadBalanceLoss::Scope::sequence;
    auto grouped = second;
    grouped.group_size = 1;
    support::expect_invalid([&] { loss.value(grouped); }, {"LoadBalanceLoss", "2 groups, which must be one"});
  }
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

TEST(LoadBalanceLoss, AGroupThatChoseNothingAddsNothing) {
  auto routing = loss::decision(Matrix<double>{{0.5, 0.5}, {0.5, 0.5}}, {{0, 0, 1., 0}});
  routing.group_size = 1;
  for (const auto count : {Count::first_choices, Count::all_choices, Count::all_choices_share})
    EXPECT_EQ((LoadBalanceLoss{.count = count, .scope = LoadBalanceLoss::Scope::sequence}.value(routing)), 0.5);
}

/// transformers counts the choices of all layers together, and averages the probabilities over all of them.
TEST(LoadBalanceLoss, LayersMayBeCountedTogether) {
  const Matrix<double> p{{.5, .3, .2}, {.6, .1, .3}}, q{{.1, .7, .2}, {.3, .3, .4}};
  const auto one = loss::decision(p, {{0, 0, .5, 0}, {1, 0, .6, 0}}),
             other = loss::decision(q, {{0, 1, .7, 0}, {1, 2, .4, 0}});
  Matrix<double> both(4, 3);
  both << p, q;
  const auto together = loss::decision(both, {{0, 0, 1, 0}, {1, 0, 1, 0}, {2, 1, 1, 0}, {3, 2, 1, 0}});
  const LoadBalanceLoss loss{.count = LoadBalanceLoss::Count::all_choices};
  const auto with = [&](const Routing<double>& counted) {
    auto joint = loss;
    joint.add_earlier(counted);
    return joint;
  };
  EXPECT_NEAR((with(other).value(one) + with(one).value(other)) / 2, loss.value(together), 1e-15);
  const auto expected = loss::gradient_of(loss, together).probabilities_TE;
  EXPECT_TRUE(loss::gradient_of(with(other), one, .5).probabilities_TE.isApprox(expected.topRows(2), 1e-14));
  EXPECT_TRUE(loss::gradient_of(with(one), other, .5).probabilities_TE.isApprox(expected.bottomRows(2), 1e-14));
}

TEST(LoadBalanceLoss, EarlierCountsOfAnotherNumberOfExpertsAreRefused) {
  const auto routing = loss::decision(Matrix<double>{{0.5, 0.5}}, {{0, 1, 1.0, 0}});
  for (const Index experts : {1, 64}) {
    LoadBalanceLoss loss;
    loss.earlier = {Vector<double>::Ones(experts), 1};
    expect_invalid([&] { loss.add_earlier(routing); }, {"earlier counts of " + std::to_string(experts), "has 2"});
    expect_invalid([&] { (void)loss.value(routing); }, {"earlier counts of " + std::to_string(experts)});
  }
}

/// Several tables of a hash may name one expert, so that there are more choices than experts.
TEST(LoadBalanceLoss, MoreChoicesThanExpertsHaveNoPlainTopK) {
  LoadBalanceLoss loss{.count = LoadBalanceLoss::Count::plain_top_k_share};
  for (const Index choices : {3, 16, 20}) {
    auto routing = loss::decision(Matrix<double>{{0.5, 0.5}}, {{0, 1, 1.0, 0}});
    routing.choices_per_token = choices;
    expect_invalid([&] { (void)loss.value(routing); }, {std::to_string(choices) + " choices", "there are 2"});
    expect_invalid([&] { loss.add_earlier(routing); }, {"there are 2"});
    expect_invalid([&] { (void)loss::gradient_of(loss, routing); }, {"there are 2"});
  }
}

TEST(LoadBalanceLoss, AGateOfADifferingNumberIsRefusedAtConstruction) {
  const LoadBalanceLoss loss{.count = LoadBalanceLoss::Count::plain_top_k_share};
  expect_invalid([&] { loss.check(4, TopP{}); }, {"LoadBalanceLoss", "fixed number k"});
  EXPECT_NO_THROW(loss.check(4, TopK{}));
  EXPECT_NO_THROW(LoadBalanceLoss{}.check(4, TopP{}));
}

}  // namespace load_balance_test
}  // namespace moe
