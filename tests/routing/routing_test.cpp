#include "moe/routing/routing.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace moe {
namespace routing_test {

Routing<float> decided() {
  const Matrix<float> x_TD = Matrix<float>::Ones(3, 1);
  Routing<float> routing;
  routing.reset(x_TD, 2);
  routing.logits_TE.setOnes();
  routing.probabilities_TE.setConstant(0.5f);
  routing.choices = {{0, 1, 0.5f, 0}, {2, 0, 0.25f, 1}};
  return routing;
}

TEST(Routing, AFreshOneHasDecidedNothing) {
  const Routing<float> routing;
  EXPECT_EQ(routing.tokens(), 0);
  EXPECT_EQ(routing.experts(), 0);
  EXPECT_TRUE(routing.choices.empty());
  EXPECT_EQ(routing.choices_per_token, 0);
  EXPECT_EQ(routing.valid_tokens, 0);
  EXPECT_EQ(routing.group_size, 0);
  EXPECT_FALSE(routing.noise.drawn);
  EXPECT_TRUE(routing.noise.weighs);
}

TEST(Routing, ResetLeavesNothingChosen) {
  Routing<float> routing = decided();
  routing.noise.drawn = true;
  routing.noise.weighs = false;
  routing.choices_per_token = 2;
  const Matrix<float> x_TD = Matrix<float>::Ones(4, 1);
  routing.reset(x_TD, 3);
  EXPECT_EQ(routing.tokens(), 4);
  EXPECT_EQ(routing.experts(), 3);
  EXPECT_TRUE(routing.choices.empty());
  EXPECT_FALSE(routing.noise.drawn);
  EXPECT_TRUE(routing.noise.weighs);
  EXPECT_EQ(routing.choices_per_token, 0);
}

TEST(Routing, ResetCountsTheTokensThatAreNotPadding) {
  const Matrix<float> x_TD = Matrix<float>::Ones(3, 1);
  const std::vector<std::uint8_t> valid{1, 0, 5};
  Batch<float> batch = x_TD;
  batch.valid = valid;
  Routing<float> routing;
  routing.reset(batch, 2);
  EXPECT_EQ(routing.valid_tokens, 2);
  EXPECT_TRUE(routing.is_valid(0));
  EXPECT_FALSE(routing.is_valid(1));
  EXPECT_TRUE(routing.is_valid(2));
}

TEST(Routing, TheGradientOfADecisionStartsAtZeroWithTheSameChoices) {
  Routing<float> gradient;
  gradient.reset_gradient(decided());
  EXPECT_EQ(gradient.logits_TE, Matrix<float>::Zero(3, 2));
  EXPECT_EQ(gradient.probabilities_TE, Matrix<float>::Zero(3, 2));
  ASSERT_EQ(gradient.choices.size(), 2u);
  EXPECT_EQ(gradient.choices[1].token, 2);
  EXPECT_EQ(gradient.choices[1].expert, 0);
  EXPECT_EQ(gradient.choices[1].weight, 0);
}

TEST(Routing, TheGradientHasRoomForNoiseWhereNoiseWasDrawn) {
  Routing<float> routing = decided(), gradient;
  routing.noise.drawn = true;
  gradient.reset_gradient(routing);
  EXPECT_TRUE(gradient.noise.drawn);
  EXPECT_EQ(gradient.noise.logits_TE, Matrix<float>::Zero(3, 2));
  EXPECT_EQ(gradient.noise.stddev_TE, Matrix<float>::Zero(3, 2));
}

TEST(Routing, SelectionComparesTheNoisyLogitsWhereNoiseWasDrawn) {
  Routing<float> routing = decided();
  EXPECT_EQ(&routing.selection_logits_TE(), &routing.logits_TE);
  routing.noise.drawn = true;
  EXPECT_EQ(&routing.selection_logits_TE(), &routing.noise.logits_TE);
}

TEST(Routing, ProbabilitiesAreTheSoftmaxOfTheLogitsThatWeigh) {
  Routing<float> routing = decided();
  routing.logits_TE.col(1).array() += std::log(3.0f);
  routing.set_probabilities();
  EXPECT_TRUE(routing.probabilities_TE.isApprox(Matrix<float>{{.25f, .75f}, {.25f, .75f}, {.25f, .75f}}));
  routing.noise.drawn = true;
  routing.noise.logits_TE = Matrix<float>::Zero(3, 2);
  routing.set_probabilities(1);
  EXPECT_TRUE(routing.probabilities_TE.isApprox(Matrix<float>{{.25f, .75f}, {.5f, .5f}, {.25f, .75f}}));
  routing.noise.weighs = false;
  routing.set_probabilities();
  EXPECT_TRUE(routing.probabilities_TE.isApprox(Matrix<float>{{.25f, .75f}, {.25f, .75f}, {.25f, .75f}}));
}

}  // namespace routing_test
}  // namespace moe
