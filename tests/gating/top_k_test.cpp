#include "moe/gating/top_k.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "gating/route.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace top_k_test {

using gating::experts_of;
using gating::route;
using gating::weights_of;
using support::expect_invalid;

// Probabilities 1/8, 2/8, 5/8.
const Matrix<double> logits_TE{{std::log(1.0), std::log(2.0), std::log(5.0)}};

TEST(TopK, SoftmaxOfChosenSharesAmongTheChosen) {
  const auto routing = route(TopK{.k = 2}, logits_TE);
  EXPECT_EQ(experts_of(routing), (std::vector<Index>{2, 1}));
  EXPECT_NEAR(weights_of(routing)[0], 5.0 / 7, 1e-15);
  EXPECT_NEAR(weights_of(routing)[1], 2.0 / 7, 1e-15);
}

TEST(TopK, ProbabilitiesAreThoseOverAllExperts) {
  const auto routing = route(TopK{.k = 2, .weights = ChoiceWeights::probabilities()}, logits_TE);
  EXPECT_NEAR(weights_of(routing)[0], 5.0 / 8, 1e-15);
  EXPECT_NEAR(weights_of(routing)[1], 2.0 / 8, 1e-15);
  EXPECT_TRUE(routing.probabilities_TE.isApprox(Matrix<double>{{1.0 / 8, 2.0 / 8, 5.0 / 8}}, 1e-15));
}

TEST(TopK, RenormalizedAddsEpsilonToTheSum) {
  const auto routing = route(TopK{.k = 2, .weights = ChoiceWeights::renormalized({.epsilon = 1.0 / 8})}, logits_TE);
  EXPECT_NEAR(weights_of(routing)[0], 5.0 / 8, 1e-15);  // 5/8 over 7/8 + 1/8
  EXPECT_NEAR(weights_of(routing)[1], 2.0 / 8, 1e-15);
}

TEST(TopK, UniformIsTheMean) {
  const auto routing = route(TopK{.k = 2, .weights = ChoiceWeights::uniform()}, logits_TE);
  EXPECT_EQ(weights_of(routing), (std::vector<double>{0.5, 0.5}));
}

TEST(TopK, AllFirstChoicesComeBeforeAllSecondChoices) {
  const auto routing = route(TopK{.k = 2}, Matrix<double>{{3, 2, 1}, {1, 2, 3}});
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0, 1, 0, 1}));
  EXPECT_EQ(experts_of(routing), (std::vector<Index>{0, 2, 1, 1}));
  EXPECT_EQ(routing.choices[1].rank, 0);
  EXPECT_EQ(routing.choices[2].rank, 1);
  EXPECT_EQ(routing.choices_per_token, 2);
}

TEST(TopK, EqualLogitsGoToTheLowerExpertWithEqualWeights) {
  const auto routing = route(TopK{.k = 2}, Matrix<double>(Matrix<double>::Constant(1, 5, 3)));
  EXPECT_EQ(experts_of(routing), (std::vector<Index>{0, 1}));
  EXPECT_EQ(weights_of(routing), (std::vector<double>{0.5, 0.5}));
}

TEST(TopK, LogitsWhoseProbabilitiesUnderflowAreStillCompared) {
  const auto routing = route(TopK{.k = 2}, Matrix<double>{{-2000, -1000, 1000}});
  EXPECT_EQ(experts_of(routing), (std::vector<Index>{2, 1}));
}

TEST(TopK, HugeLogitsGiveFiniteWeights) {
  const auto routing = route(TopK{.k = 2}, Matrix<float>{{3e38f, -3e38f, 3e38f}});
  EXPECT_EQ(experts_of(routing), (std::vector<Index>{0, 2}));
  EXPECT_EQ(weights_of(routing), (std::vector<float>{0.5f, 0.5f}));
}

TEST(TopK, ATokenOfNaNKeepsToTheRangeAndToItself) {
  Matrix<float> logits{{1, 2, 3}, {4, 0, 1}};
  const auto clean = route(TopK{.k = 2}, logits);
  logits.row(0).setConstant(support::nan_of<float>);
  const auto routing = route(TopK{.k = 2}, logits);
  EXPECT_EQ(experts_of(routing), (std::vector<Index>{0, 0, 1, 2}));
  EXPECT_TRUE(std::isnan(weights_of(routing)[0]));
  EXPECT_EQ(weights_of(routing)[1], weights_of(clean)[1]);
  EXPECT_EQ(weights_of(routing)[3], weights_of(clean)[3]);
}

TEST(TopK, AnInfiniteLogitTakesTheWholeWeight) {
  const auto routing = route(TopK{.k = 2}, Matrix<float>{{1, support::infinity_of<float>, 2}});
  EXPECT_EQ(experts_of(routing), (std::vector<Index>{1, 2}));
  EXPECT_EQ(weights_of(routing), (std::vector<float>{1, 0}));
}

TEST(TopK, PaddingIsNotRouted) {
  const std::vector<std::uint8_t> valid{0, 1};
  const auto routing = route(TopK{.k = 2}, Matrix<double>{{3, 2, 1}, {1, 2, 3}}, valid);
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{1, 1}));
}

TEST(TopK, ASingleExpertHasTheWeightOne) {
  EXPECT_NO_THROW(TopK{.k = 1}.check(1));
  EXPECT_EQ(weights_of(route(TopK{.k = 1}, Matrix<float>{{-5}})), (std::vector<float>{1}));
}

TEST(TopK, OnlyTheChosenLogitsOfASoftmaxOfChosenHaveAGradient) {
  // Weights (5/7, 2/7), dweight (7, 0): dz = w (dw - w'dw) = 5/7 (7 - 5), 2/7 (0 - 5).
  const auto routing = route(TopK{.k = 2}, logits_TE);
  const auto drouting = gating::backward(TopK{.k = 2}, routing, {7, 0});
  EXPECT_TRUE(drouting.logits_TE.isApprox(Matrix<double>{{0, -10.0 / 7, 10.0 / 7}}, 1e-14));
}

TEST(TopK, AKOutsideOneToTheNumberOfExpertsIsRefused) {
  expect_invalid([] { TopK{.k = 0}.check(4); }, {"TopK: k is 0", "4"});
  expect_invalid([] { TopK{.k = 5}.check(4); }, {"k is 5", "4"});
  expect_invalid([] { TopK{.k = -1}.check(4); }, {"k is -1"});
}

TEST(TopK, OneChoiceWithANormalisedWeightIsRefused) {
  for (const auto& weights : {ChoiceWeights::softmax_of_chosen(), ChoiceWeights::renormalized()})
    expect_invalid([&] { TopK{.k = 1, .weights = weights}.check(4); }, {"k = 1", "router learns nothing"});
  for (const auto& weights : {ChoiceWeights::probabilities(), ChoiceWeights::uniform()})
    EXPECT_NO_THROW((TopK{.k = 1, .weights = weights}.check(4)));
}

TEST(TopK, WeightsMayBeDividedByAnotherNorm) {
  // p = (1/2, 3/8, 1/8): the two largest are 4 : 3, and 5 is their Euclidean norm.
  const Matrix<double> logits{{std::log(4.0), std::log(3.0), 0}};
  const auto routing = gating::route(TopK{.k = 2, .weights = ChoiceWeights::renormalized({.norm = 2})}, logits);
  EXPECT_NEAR(routing.choices[0].weight, 0.8, 1e-15);
  EXPECT_NEAR(routing.choices[1].weight, 0.6, 1e-15);
}

}  // namespace top_k_test
}  // namespace moe
