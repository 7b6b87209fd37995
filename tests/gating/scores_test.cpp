#include "moe/gating/scores.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gating/route.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace scores_test {

using support::expect_invalid;

// One token whose logits are log 1, log 3 and log 1/3: their sigmoids are 1/2, 3/4, 1/4. It chose experts 1 and 0.
Routing<double> chosen() {
  const Matrix<double> x_TD = Matrix<double>::Zero(1, 1);
  Routing<double> routing;
  routing.reset(x_TD, 3);
  routing.logits_TE << 0, std::log(3.0), -std::log(3.0);
  routing.choices = {{0, 1, 0}, {0, 0, 0, 1}};
  return routing;
}

void expect_weights(const Scores& scores, double first, double second) {
  Routing<double> routing = chosen();
  scores.weigh(routing);
  EXPECT_NEAR(routing.choices[0].weight, first, 1e-15);
  EXPECT_NEAR(routing.choices[1].weight, second, 1e-15);
}

TEST(Scores, WeighAsTheyAreOrDividedByTheirSum) {
  expect_weights(Scores::sigmoid({.normalize = false}), 0.75, 0.5);
  expect_weights(Scores::sigmoid({.normalize = false, .scale = 2}), 1.5, 1);
  expect_weights(Scores::sigmoid(), 0.6, 0.4);
  expect_weights(Scores::sigmoid({.scale = 2.5}), 1.5, 1);
  expect_weights(Scores::sigmoid({.epsilon = 0.25}), 0.5, 1. / 3);
  expect_weights(Scores::sigmoid({.epsilon = Epsilon::floor(2.5)}), 0.3, 0.2);
  expect_weights(Scores::sigmoid({.epsilon = Epsilon::floor(0.5)}), 0.6, 0.4);
  expect_weights(Scores::softmax({.normalize = false}), 9. / 13, 3. / 13);
  expect_weights(Scores::softmax(), 0.75, 0.25);
  expect_weights(Scores::sqrt_softplus({.normalize = false}), std::sqrt(std::log(4.)), std::sqrt(std::log(2.)));
}

TEST(Scores, ProbabilitiesAreScoresDividedByTheirSum) {
  Routing<double> routing = chosen();
  Scores::sigmoid({.scale = 2.5}).weigh(routing);
  EXPECT_LT((routing.scores_TE - Matrix<double>{{0.5, 0.75, 0.25}}).cwiseAbs().maxCoeff(), 1e-15);
  EXPECT_LT((routing.probabilities_TE - Matrix<double>{{1. / 3, 0.5, 1. / 6}}).cwiseAbs().maxCoeff(), 1e-15);
}

TEST(Scores, ThatUnderflowHaveProbabilitiesAndWeights) {
  Routing<float> routing;
  const Matrix<float> x_TD = Matrix<float>::Zero(1, 1);
  routing.reset(x_TD, 2);
  routing.logits_TE << -150.f, -150.f - std::log(3.f);
  routing.choices = {{0, 0, 0}, {0, 1, 0, 1}};
  Scores::sigmoid({.epsilon = 0}).weigh(routing);
  EXPECT_EQ(routing.scores_TE(0, 0), 0);
  EXPECT_NEAR(routing.probabilities_TE(0, 0), 0.75f, 1e-5);
  EXPECT_NEAR(routing.choices[1].weight, 0.25f, 1e-5);
}

TEST(Scores, TheGradientIsThatOfDifferences) {
  const double dweights[] = {1, -2};
  const Matrix<double> dprobabilities{{0.5, -1, 2}};
  for (const auto function : {&Scores::softmax, &Scores::sigmoid, &Scores::sqrt_softplus})
    for (const ScoreOptions& options : {ScoreOptions{.scale = 2}, ScoreOptions{.normalize = false, .scale = 2},
                                        ScoreOptions{.epsilon = 0.3}, ScoreOptions{.epsilon = Epsilon::floor(3)}}) {
      const Scores scores = function(options);
      const auto loss = [&](Index e, double moved) {
        Routing<double> routing = chosen();
        routing.logits_TE(0, e) += moved;
        scores.weigh(routing);
        return dweights[0] * routing.choices[0].weight + dweights[1] * routing.choices[1].weight +
               dprobabilities.cwiseProduct(routing.probabilities_TE).sum();
      };
      Routing<double> routing = chosen(), drouting;
      scores.weigh(routing);
      drouting.reset_gradient(routing);
      for (std::size_t i = 0; i < 2; ++i) drouting.choices[i].weight = dweights[i];
      drouting.probabilities_TE = dprobabilities;
      scores.backward(routing, drouting);
      const double step = 1e-6;
      for (Index e = 0; e < 3; ++e)
        EXPECT_NEAR(drouting.logits_TE(0, e), (loss(e, step) - loss(e, -step)) / (2 * step), 1e-8);
    }
}

TEST(Scores, NumbersThatMakeNoSenseAreRefusedAtOnce) {
  for (const double scale : {0., -1., support::infinity_of<double>, support::nan_of<double>})
    expect_invalid([&] { Scores::sigmoid({.scale = scale}); }, {"Scores: scale"});
  for (const double epsilon : {-1., support::infinity_of<double>, support::nan_of<double>})
    expect_invalid([&] { Scores::sqrt_softplus({.epsilon = epsilon}); }, {"Scores: scale 1 and epsilon"});
}

TEST(Scores, ABackwardPassWithoutItsForwardPassIsRefused) {
  Routing<double> routing = chosen(), drouting;
  drouting.reset_gradient(routing);
  expect_invalid([&] { Scores::sigmoid().backward(routing, drouting); }, {"Scores: those of the forward pass"});
}

TEST(Scores, AreConstantsWhereTheirOptionsAre) {
  static_assert(Scores::sigmoid() == Scores::sigmoid({}));
  static_assert(Scores::sigmoid() != Scores::softmax());
  static_assert(Scores::sigmoid({.scale = 2.5}).options().scale == 2.5);
}

}  // namespace scores_test
}  // namespace moe
