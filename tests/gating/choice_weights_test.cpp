#include "moe/gating/choice_weights.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gating/route.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace choice_weights_test {

using detail::Weighing;

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

std::vector<double> weights(const Weighing& weighing, Routing<double> routing = chosen()) {
  weighing.weigh(routing);
  return gating::weights_of(routing);
}

/// d logits for the gradients 1 and 0 of the two weights.
Matrix<double> gradient(const Weighing& weighing) {
  Routing<double> routing = chosen(), drouting;
  weighing.weigh(routing);
  drouting.reset_gradient(routing);
  drouting.choices[0].weight = 1;
  weighing.backward(routing, drouting);
  return drouting.logits_TE;
}

TEST(ChoiceWeights, EachKindHasItsValues) {
  EXPECT_EQ(weights({ChoiceWeights::probabilities}), (std::vector<double>{0.5, 0.25}));
  EXPECT_EQ(weights({ChoiceWeights::uniform}), (std::vector<double>{0.5, 0.5}));
  EXPECT_EQ(weights({ChoiceWeights::renormalized}), (std::vector<double>{0.5 / 0.75, 0.25 / 0.75}));
  const auto softmax = weights({ChoiceWeights::softmax_of_chosen});
  EXPECT_NEAR(softmax[0], 2.0 / 3, 1e-15);
  EXPECT_NEAR(softmax[1], 1.0 / 3, 1e-15);
}

TEST(ChoiceWeights, EpsilonIsAddedOrAFloor) {
  EXPECT_EQ(weights({ChoiceWeights::renormalized, 0.25, Epsilon::added}), (std::vector<double>{0.5, 0.25}));
  EXPECT_EQ(weights({ChoiceWeights::renormalized, 0.25, Epsilon::floor}),
            (std::vector<double>{0.5 / 0.75, 0.25 / 0.75}));
  EXPECT_EQ(weights({ChoiceWeights::renormalized, 2, Epsilon::floor}), (std::vector<double>{0.25, 0.125}));
}

TEST(ChoiceWeights, LogitsOfAnySizeHaveASoftmax) {
  Routing<double> routing = chosen();
  routing.logits_TE << -5000, -5000 - std::log(3.0), 0;  // every p of the chosen is 0
  const auto w = weights({ChoiceWeights::softmax_of_chosen}, routing);
  EXPECT_NEAR(w[0], 0.75, 1e-12);
  EXPECT_NEAR(w[1], 0.25, 1e-12);
  routing.logits_TE << support::infinity_of<double>, 0, 0;
  EXPECT_EQ(weights({ChoiceWeights::softmax_of_chosen}, routing), (std::vector<double>{1, 0}));
}

TEST(ChoiceWeights, EachKindHasItsGradient) {
  // p: dz = p_0 (1 - p_0), -p_0 p_1, -p_0 p_2.
  EXPECT_EQ(gradient({ChoiceWeights::probabilities}), (Matrix<double>{{0.25, -0.125, -0.125}}));
  EXPECT_EQ(gradient({ChoiceWeights::uniform}), (Matrix<double>{{0, 0, 0}}));
  // Of two: w_0 w_1 = 2/9, whichever way it is computed.
  const Matrix<double> of_two{{2.0 / 9, -2.0 / 9, 0}};
  for (const ChoiceWeights kind : {ChoiceWeights::softmax_of_chosen, ChoiceWeights::renormalized})
    EXPECT_LT((gradient({kind}) - of_two).cwiseAbs().maxCoeff(), 1e-15) << gradient({kind});
}

TEST(ChoiceWeights, EpsilonIsPartOfTheGradient) {
  // Added 1/4: dp = (1 - 1/2, -1/2) / 1; dz = p (dp - sum dp p), the sum being 1/4 - 1/8.
  EXPECT_EQ(gradient({ChoiceWeights::renormalized, 0.25}),
            (Matrix<double>{{0.5 * 0.375, 0.25 * -0.625, 0.25 * -0.125}}));
  // At the floor 2 the sum does not matter: half of p's own gradient.
  EXPECT_EQ(gradient({ChoiceWeights::renormalized, 2, Epsilon::floor}), (Matrix<double>{{0.125, -0.0625, -0.0625}}));
}

}  // namespace choice_weights_test
}  // namespace moe
