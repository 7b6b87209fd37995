#include "moe/gating/scored_top_k.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gating/route.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace scored_top_k_test {

using support::expect_invalid;

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

TEST(ScoredTopK, TheBiasSelectsButDoesNotWeigh) {
  const Matrix<double> z{{2, 1, 0}};
  ScoredTopK gate{.k = 2, .scores = Scores::sigmoid({.normalize = false, .scale = 2})};
  EXPECT_EQ(gating::experts_of(gating::route(gate, z)), (std::vector<Index>{0, 1}));
  gate.selection_bias_E = Vector<double>{{-1, 0, 1}};
  const auto routing = gating::route(gate, z);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{2, 1}));
  EXPECT_NEAR(routing.choices[0].weight, 2 * sigmoid(0), 1e-15);
  EXPECT_NEAR(routing.choices[1].weight, 2 * sigmoid(1), 1e-15);
}

TEST(ScoredTopK, NormalisedWeightsAddUpToTheScale) {
  const auto routing =
      gating::route(ScoredTopK{.k = 2, .scores = Scores::sigmoid({.scale = 2.5})}, Matrix<double>{{2, 1, 0}});
  EXPECT_NEAR(routing.choices[0].weight + routing.choices[1].weight, 2.5, 1e-15);
  EXPECT_NEAR(routing.probabilities_TE.sum(), 1, 1e-15);
}

// All biased scores are negative: groups that are out must rank below them, not at 0.
TEST(ScoredTopK, MaskedGroupsLoseAlsoAgainstNegativeScores) {
  ScoredTopK gate{.k = 2, .scores = Scores::sigmoid({.normalize = false}), .groups = 2, .groups_used = 1};
  gate.selection_bias_E = Vector<double>::Constant(4, -5);
  EXPECT_EQ(gating::experts_of(gating::route(gate, Matrix<double>{{0, 0, 1, 2}})), (std::vector<Index>{3, 2}));
}

// Group 0 has the best expert, group 1 the best pair.
TEST(ScoredTopK, GroupsAreRankedByTheirBestOrByTheirBestTwo) {
  ScoredTopK gate{.k = 2, .scores = Scores::sigmoid({.normalize = false}), .groups = 2, .groups_used = 1};
  const Matrix<double> z{{3, -3, 2, 2}};
  gate.group_score = ScoredTopK::GroupScore::best;
  EXPECT_EQ(gating::experts_of(gating::route(gate, z)), (std::vector<Index>{0, 1}));
  gate.group_score = ScoredTopK::GroupScore::best_two;
  EXPECT_EQ(gating::experts_of(gating::route(gate, z)), (std::vector<Index>{2, 3}));
}

// Groups of two: the best of each, the best first, though group 1 has the two largest logits.
TEST(ScoredTopK, ChoosesAsManyFromEachGroup) {
  ScoredTopK gate{
      .k = 3, .scores = Scores::softmax({.normalize = false}), .groups = 3, .groups_used = 3, .from_each_group = true};
  const Matrix<double> z{{0, -1, 4, 5, 1, 2}};
  const auto routing = gating::route(gate, z);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{3, 5, 0}));
  EXPECT_FALSE(routing.selects_largest_logits);
  const double sum = z.array().exp().sum();
  EXPECT_NEAR(routing.choices[0].weight, std::exp(5.) / sum, 1e-15);
  EXPECT_NEAR(routing.choices[2].weight, 1 / sum, 1e-15);
  gate.selection_bias_E = Vector<double>{{0, 0.1, 0, 0, 0, 0}};
  EXPECT_EQ(gating::experts_of(gating::route(gate, z)), (std::vector<Index>{3, 1, 5}));
  gate.k = 6;
  EXPECT_EQ(gating::experts_of(gating::route(gate, z)).size(), 6);
  // Where scores are equal in double the logits decide, also within a group.
  ScoredTopK far{.k = 2, .scores = Scores::sigmoid(), .groups = 2, .groups_used = 2, .from_each_group = true};
  EXPECT_EQ(gating::experts_of(gating::route(far, Matrix<double>{{500, 900, 100, 50}})), (std::vector<Index>{1, 2}));
}

TEST(ScoredTopK, FromEachGroupMustDivide) {
  ScoredTopK gate{.k = 3, .groups = 2, .groups_used = 2, .from_each_group = true};
  expect_invalid([&] { gate.check(4); }, {"from each of 2 groups, k is 3"});
  gate.k = 2;
  EXPECT_NO_THROW(gate.check(4));
  gate.groups_used = 1;
  expect_invalid([&] { gate.check(4); }, {"groups_used 1"});
}

TEST(ScoredTopK, ABiasOnLogitsSelectsByTheirSum) {
  const Matrix<double> z{{30, 29, 28}};  // whose sigmoids are nearly equal
  ScoredTopK gate{.k = 2, .selection_bias_E = Vector<double>{{-1.5, 0, 0}}, .bias_on = ScoredTopK::BiasOn::logits};
  EXPECT_EQ(gating::experts_of(gating::route(gate, z)), (std::vector<Index>{1, 0}));
  gate.selection_bias_E = Vector<double>{{-3, 0, 0}};
  EXPECT_EQ(gating::experts_of(gating::route(gate, z)), (std::vector<Index>{1, 2}));
  gate.groups = 3;
  gate.groups_used = 2;
  gate.group_score = ScoredTopK::GroupScore::best;
  expect_invalid([&] { gate.check(3); }, {"a bias on logits"});
}

TEST(ScoredTopK, SqrtSoftplus) {
  const auto routing = gating::route(ScoredTopK{.k = 2, .scores = Scores::sqrt_softplus({.normalize = false})},
                                     Matrix<double>{{0, 50, -800}});
  EXPECT_NEAR(routing.scores_TE(0, 0), std::sqrt(std::log(2.)), 1e-15);
  EXPECT_NEAR(routing.scores_TE(0, 1), std::sqrt(50.), 1e-12);
  EXPECT_NEAR(routing.scores_TE(0, 2) / std::exp(-400.), 1, 1e-12);
}

TEST(ScoredTopK, WhatCannotBeDoneIsRefused) {
  expect_invalid([] { ScoredTopK{.k = 5}.check(4); }, {"k is 5"});
  expect_invalid([] { ScoredTopK{.k = 1}.check(4); }, {"k = 1"});
  expect_invalid([] { (ScoredTopK{.k = 2, .groups = 3}.check(4)); }, {"4 experts", "3 groups"});
  expect_invalid([] { (ScoredTopK{.k = 3, .groups = 2, .groups_used = 1}.check(4)); }, {"k = 3"});
  expect_invalid([] { (ScoredTopK{.k = 2, .groups = 4, .groups_used = 2}.check(4)); }, {"adds 2 experts", "has 1"});
  expect_invalid([] { (ScoredTopK{.k = 2, .selection_bias_E = Vector<double>::Zero(3)}.check(4)); }, {"bias of 3"});
}

TEST(ScoredTopK, TheSumMayHaveAFloor) {
  const Matrix<double> logits{{0, 0, -40}};  // scores 1/2, 1/2
  const ScoredTopK gate{.k = 2, .scores = Scores::sigmoid({.epsilon = Epsilon::floor(4)})};
  EXPECT_NEAR(gating::route(gate, logits).choices[0].weight, 0.125, 1e-15);
  EXPECT_NEAR(gating::route(ScoredTopK{.k = 2, .scores = Scores::sigmoid({.epsilon = Epsilon::floor(0.5)})}, logits)
                  .choices[0]
                  .weight,
              0.5, 1e-15);
}

/// Where float has no numbers for the scores any more, their quotients are those of double.
template <class S>
S mean_of_experts_1_and_3(const ScoredTopK& gate) {
  const auto routing = gating::route(gate, Matrix<S>{{S(-88), S(-90)}});
  EXPECT_TRUE(routing.probabilities_TE.allFinite());
  return routing.choices[0].weight * S(1) + routing.choices[1].weight * S(3);
}

TEST(ScoredTopK, ScoresThatUnderflowHaveWeights) {
  EXPECT_NEAR(mean_of_experts_1_and_3<float>({.k = 2, .scores = Scores::sqrt_softplus()}), 1.4058, 1e-4);
  EXPECT_NEAR(mean_of_experts_1_and_3<double>({.k = 2, .scores = Scores::sqrt_softplus()}), 1.4058, 1e-4);
  for (const double epsilon : {0., 1e-60}) {
    EXPECT_NEAR(mean_of_experts_1_and_3<float>({.k = 2, .scores = Scores::sqrt_softplus({.epsilon = epsilon})}),
                1 + 2 * sigmoid(-1), 1e-5);
    EXPECT_NEAR(mean_of_experts_1_and_3<float>({.k = 2, .scores = Scores::sigmoid({.epsilon = epsilon})}),
                1 + 2 * sigmoid(-2), 1e-5);
  }
}

// Where scores are powers of e, a shift of all logits changes neither quotients nor their gradients.
TEST(ScoredTopK, ScoresThatUnderflowHaveGradients) {
  const Matrix<double> z{{-40, -41, -42}}, far = z.array() - 800;
  for (const Scores& scores : {Scores::sigmoid({.epsilon = 0}), Scores::sqrt_softplus({.epsilon = 0})}) {
    const ScoredTopK gate{.k = 2, .scores = scores};
    const auto near_gradient = gating::backward(gate, gating::route(gate, z), {1., 0.}).logits_TE;
    const auto far_gradient = gating::backward(gate, gating::route(gate, far), {1., 0.}).logits_TE;
    EXPECT_LT((near_gradient - far_gradient).cwiseAbs().maxCoeff(), 1e-12);
    EXPECT_GT(far_gradient(0, 0), 0.09);
  }
}

TEST(ScoredTopK, EqualScoresAreToldApartByTheirLogits) {
  const Matrix<float> low{{-120, -119, -118}}, high{{30, 31, 32}};  // scores of 0 and of 1
  for (const Matrix<float>& z : {low, high}) {
    EXPECT_EQ(gating::experts_of(gating::route(ScoredTopK{.k = 2}, z)), (std::vector<Index>{2, 1}));
    const ScoredTopK biased{.k = 2, .selection_bias_E = Vector<double>{{0.5, 0.5, 0}}};
    EXPECT_EQ(gating::experts_of(gating::route(biased, z)), (std::vector<Index>{1, 0}));
  }
  const Matrix<float> groups{{-120, -119, -117, -118}};
  EXPECT_EQ(gating::experts_of(gating::route(ScoredTopK{.k = 2, .groups = 2, .groups_used = 1}, groups)),
            (std::vector<Index>{2, 3}));
}

TEST(ScoredTopK, AMaskedExpertOfAGoodGroupComesBeforeTheOtherGroups) {
  const Matrix<double> z{{1, 1, -support::infinity_of<double>, 9}};
  const ScoredTopK gate{.k = 2, .groups = 2, .groups_used = 1, .group_score = ScoredTopK::GroupScore::best};
  EXPECT_EQ(gating::experts_of(gating::route(gate, z)), (std::vector<Index>{3, 2}));
}

TEST(ScoredTopK, OneChoiceOfConstantWeightMayBeMeant) {
  EXPECT_NO_THROW((ScoredTopK{.k = 1, .scores = Scores::sigmoid({.allow_constant = true})}.check(4)));
}

}  // namespace scored_top_k_test
}  // namespace moe
