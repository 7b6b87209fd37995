#include "moe/gating/choice_weights.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gating/route.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace choice_weights_test {

using support::expect_invalid;

// One token, probabilities 1/2, 1/4, 1/4, of which the first two experts are chosen.
Routing<double> chosen() {
  const Matrix<double> x_TD = Matrix<double>::Zero(1, 1);
  Routing<double> routing;
  routing.reset(x_TD, 3);
  routing.probabilities_TE << 0.5, 0.25, 0.25;
  routing.logits_TE = routing.probabilities_TE.array().log();
  routing.choices = {{0, 0, 0}, {0, 1, 0, 1}};
  return routing;
}

std::vector<double> weights(const ChoiceWeights& kind, Routing<double> routing = chosen()) {
  kind.weigh(routing);
  return gating::weights_of(routing);
}

/// d logits for the gradients 1 and 0 of the two weights.
Matrix<double> gradient(const ChoiceWeights& kind) {
  Routing<double> routing = chosen(), drouting;
  kind.weigh(routing);
  drouting.reset_gradient(routing);
  drouting.choices[0].weight = 1;
  kind.backward(routing, drouting);
  return drouting.logits_TE;
}

TEST(ChoiceWeights, EachKindHasItsValues) {
  EXPECT_EQ(weights(ChoiceWeights::probabilities()), (std::vector<double>{0.5, 0.25}));
  EXPECT_EQ(weights(ChoiceWeights::uniform()), (std::vector<double>{0.5, 0.5}));
  EXPECT_EQ(weights(ChoiceWeights::renormalized()), (std::vector<double>{0.5 / 0.75, 0.25 / 0.75}));
  const auto softmax = weights(ChoiceWeights::softmax_of_chosen());
  EXPECT_NEAR(softmax[0], 2.0 / 3, 1e-15);
  EXPECT_NEAR(softmax[1], 1.0 / 3, 1e-15);
}

TEST(ChoiceWeights, EpsilonIsAddedOrAFloor) {
  EXPECT_EQ(weights(ChoiceWeights::renormalized({.epsilon = 0.25})), (std::vector<double>{0.5, 0.25}));
  EXPECT_EQ(weights(ChoiceWeights::renormalized({.epsilon = Epsilon::floor(0.25)})),
            (std::vector<double>{0.5 / 0.75, 0.25 / 0.75}));
  EXPECT_EQ(weights(ChoiceWeights::renormalized({.epsilon = Epsilon::floor(0.9375)})),
            (std::vector<double>{0.5 / 0.9375, 0.25 / 0.9375}));
}

TEST(ChoiceWeights, LogitsOfAnySizeHaveASoftmax) {
  Routing<double> routing = chosen();
  routing.logits_TE << -5000, -5000 - std::log(3.0), 0;  // every p of the chosen is 0
  const auto w = weights(ChoiceWeights::softmax_of_chosen(), routing);
  EXPECT_NEAR(w[0], 0.75, 1e-12);
  EXPECT_NEAR(w[1], 0.25, 1e-12);
  routing.logits_TE << support::infinity_of<double>, 0, 0;
  EXPECT_EQ(weights(ChoiceWeights::softmax_of_chosen(), routing), (std::vector<double>{1, 0}));
}

TEST(ChoiceWeights, EachKindHasItsGradient) {
  // p: dz = p_0 (1 - p_0), -p_0 p_1, -p_0 p_2.
  EXPECT_EQ(gradient(ChoiceWeights::probabilities()), (Matrix<double>{{0.25, -0.125, -0.125}}));
  EXPECT_EQ(gradient(ChoiceWeights::uniform()), (Matrix<double>{{0, 0, 0}}));
  // Of two: w_0 w_1 = 2/9, whichever way it is computed.
  const Matrix<double> of_two{{2.0 / 9, -2.0 / 9, 0}};
  for (const ChoiceWeights& kind : {ChoiceWeights::softmax_of_chosen(), ChoiceWeights::renormalized()})
    EXPECT_LT((gradient(kind) - of_two).cwiseAbs().maxCoeff(), 1e-15) << gradient(kind);
}

TEST(ChoiceWeights, EpsilonIsPartOfTheGradient) {
  // Added 1/4: dp = (1 - 1/2, -1/2) / 1; dz = p (dp - sum dp p), the sum being 1/4 - 1/8.
  EXPECT_EQ(gradient(ChoiceWeights::renormalized({.epsilon = 0.25})),
            (Matrix<double>{{0.5 * 0.375, 0.25 * -0.625, 0.25 * -0.125}}));
  // At the floor 15/16 the sum does not matter: 16/15 of p's own gradient.
  const Matrix<double> at_floor = Matrix<double>{{0.25, -0.125, -0.125}} / 0.9375;
  EXPECT_LT(
      (gradient(ChoiceWeights::renormalized({.epsilon = Epsilon::floor(0.9375)})) - at_floor).cwiseAbs().maxCoeff(),
      1e-15);
}

TEST(ChoiceWeights, SigmoidsLeaveTheProbabilitiesAlone) {
  Routing<double> routing = chosen();
  routing.logits_TE << 1, -2, 0;
  const auto w = weights(ChoiceWeights::sigmoid(), routing);
  EXPECT_NEAR(w[0], 1 / (1 + std::exp(-1.0)), 1e-15);
  EXPECT_NEAR(w[1], 1 / (1 + std::exp(2.0)), 1e-15);
  ChoiceWeights::sigmoid().weigh(routing);
  EXPECT_EQ(routing.probabilities_TE, chosen().probabilities_TE);
  const double own = chosen().logits_TE(0, 0), s = 1 / (1 + std::exp(-own));
  EXPECT_LT((gradient(ChoiceWeights::sigmoid()) - Matrix<double>{{s * (1 - s), 0, 0}}).cwiseAbs().maxCoeff(), 1e-15);
}

TEST(ChoiceWeights, ScoresWeighAndReplaceTheProbabilities) {
  Routing<double> routing = chosen();  // the softmax of its logits is 1/2, 1/4, 1/4
  ChoiceWeights(Scores::softmax({.scale = 3})).weigh(routing);
  EXPECT_NEAR(routing.choices[0].weight, 2, 1e-15);
  EXPECT_NEAR(routing.choices[1].weight, 1, 1e-15);
  ChoiceWeights(Scores::sigmoid({.normalize = false})).weigh(routing);
  const double s0 = 1. / 3, s1 = 1. / 5;  // sigmoid(log p) = p / (1 + p)
  EXPECT_NEAR(routing.choices[0].weight, s0, 1e-15);
  EXPECT_NEAR(routing.choices[1].weight, s1, 1e-15);
  EXPECT_NEAR(routing.probabilities_TE(0, 0), s0 / (s0 + 2 * s1), 1e-15);
}

TEST(ChoiceWeights, NumbersThatMakeNoSenseAreRefusedAtOnce) {
  for (const double epsilon : {-1e-9, 1.0, support::nan_of<double>})
    expect_invalid([&] { ChoiceWeights::renormalized({.epsilon = epsilon}); }, {"ChoiceWeights: epsilon is", "[0, 1)"});
  for (const double norm : {0.5, 9.0, support::nan_of<double>})
    expect_invalid([&] { ChoiceWeights::renormalized({.norm = norm}); }, {"ChoiceWeights: norm is", "[1, 7]"});
}

// The check of every gate that has such weights.
TEST(ChoiceWeights, WeightsThatAreAlwaysTheSameAreRefusedUnlessTheyAreMeant) {
  const auto check = [](const ChoiceWeights& kind, Index most_choices, Index experts) {
    kind.check("MyGate", "with k = 1", most_choices, experts);
  };
  expect_invalid(
      [&] { check(ChoiceWeights::softmax_of_chosen(), 1, 2); },
      {"MyGate: with k = 1", "the router learns nothing", "ChoiceWeights::probabilities()", "allow_constant"});
  expect_invalid([&] { check(Scores::sigmoid(), 1, 2); }, {"MyGate", "Scores with normalize = false"});
  EXPECT_NO_THROW(check(ChoiceWeights::softmax_of_chosen(), 2, 2));
  EXPECT_NO_THROW(check(ChoiceWeights::softmax_of_chosen(), 1, 1));
  EXPECT_NO_THROW(check(ChoiceWeights::renormalized({.allow_constant = true}), 1, 2));
  EXPECT_NO_THROW(check(Scores::sigmoid({.allow_constant = true}), 1, 2));
  EXPECT_NO_THROW(check(Scores::sigmoid({.normalize = false}), 1, 2));
  for (const auto& kind : {ChoiceWeights::probabilities(), ChoiceWeights::sigmoid(), ChoiceWeights::uniform()})
    EXPECT_NO_THROW(check(kind, 1, 2));
}

TEST(ChoiceWeights, SayWhetherTheyAddUpToOneAtMost) {
  EXPECT_TRUE(ChoiceWeights::renormalized({.epsilon = 0.1}).add_up_to_one_at_most());
  EXPECT_TRUE(ChoiceWeights::probabilities().add_up_to_one_at_most());
  EXPECT_TRUE(ChoiceWeights(Scores::sigmoid()).add_up_to_one_at_most());
  EXPECT_FALSE(ChoiceWeights::renormalized({.norm = 2}).add_up_to_one_at_most());
  EXPECT_FALSE(ChoiceWeights::sigmoid().add_up_to_one_at_most());
  EXPECT_FALSE(ChoiceWeights(Scores::sigmoid({.scale = 2})).add_up_to_one_at_most());
  EXPECT_FALSE(ChoiceWeights(Scores::sigmoid({.normalize = false})).add_up_to_one_at_most());
}

TEST(ChoiceWeights, AreConstantsWhereTheirOptionsAre) {
  static_assert(ChoiceWeights::softmax_of_chosen() == ChoiceWeights::renormalized());
  static_assert(ChoiceWeights::probabilities() != ChoiceWeights::uniform());
  static_assert(ChoiceWeights::renormalized({.epsilon = 1e-9}).need_several_choices());
  static_assert(ChoiceWeights(Scores::sigmoid()).are_divided());
}

}  // namespace choice_weights_test
}  // namespace moe
