#include "moe/gating/sparse_mixer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "gating/route.hpp"
#include "moe/core/random.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace sparse_mixer_test {

// With a band of 0.1: 2 and 1.7 are left for the first choice, since 0.3 / 2 < 0.2 and 1 / 2 > 0.2; then 1.7 alone, or,
// were 1.7 the first, 2 alone.
const Matrix<double> logits_TE{{1.7, 1, 2}};
constexpr double p_of_best = 0.57444251681165903;  // 1 / (1 + exp(-0.3))

Routing<double> train(std::vector<double> draws, const SparseMixer& gate) {
  Random random = Random::recorded(std::move(draws));
  return gating::route(gate, logits_TE, {}, 0, &random);
}

TEST(SparseMixer, EvaluationTakesTheLargestOfWhatTheBandLeaves) {
  const auto routing = gating::route(SparseMixer{.k = 3, .band = .1}, logits_TE);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{2, 0, 1}));
  EXPECT_NEAR(routing.choices[0].weight, p_of_best, 1e-15);
  EXPECT_EQ(routing.choices[1].weight, 1);
  EXPECT_EQ(routing.choices[2].weight, 1);
  EXPECT_EQ(routing.choices_per_token, 3);
}

TEST(SparseMixer, TrainingSamplesAndGoesToTheMidpointThreeTimesOfFour) {
  const SparseMixer gate{.k = 1, .band = .1};
  const auto expect = [&](std::vector<double> draws, Index expert, double weight) {
    const auto routing = train(std::move(draws), gate);
    EXPECT_EQ(routing.choices[0].expert, expert);
    EXPECT_NEAR(routing.choices[0].weight, weight, 1e-15);
  };
  expect({0, 9, 0, .5}, 2, p_of_best);                // what is out is not drawn; the largest never goes there
  expect({1, 0, 0, .5}, 0, (1 - p_of_best) * .3333);  // 1.7 + 1 > 2
  expect({1, 0, 0, .75}, 0, (1 - p_of_best) * .3333);
  expect({1, 0, 0, .76}, 0, 1 - p_of_best);
}

TEST(SparseMixer, TheGradientIsThatOfTheProbabilityWhereverTheWeightIs) {
  const SparseMixer gate{.k = 2, .band = .1};
  for (const double uniform : {.5, .9}) {
    const auto routing = train({1, 0, 0, uniform, 0, 0, 0, .5}, gate);
    EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 2}));
    const auto drouting = gating::backward(gate, routing, {2.0, 5.0});
    const double slope = 2 * p_of_best * (1 - p_of_best);  // the second choice stands alone: it has none
    EXPECT_LT((drouting.logits_TE - Matrix<double>{{slope, 0, -slope}}).cwiseAbs().maxCoeff(), 1e-15);
  }
}

TEST(SparseMixer, TheGradientsOfLaterChoicesAreAmongWhatEarlierOnesLeft) {
  const Matrix<double> z{{.3, -.2, .9, .5}, {1.1, .4, -.6, .2}}, x = Matrix<double>::Zero(2, 1);
  gating::expect_exact_gradient(SparseMixer{.k = 3, .band = 10}, x, z, {1, -2, 3, .5, 2, -1});
}

TEST(SparseMixer, ChoicesAreDrawnInProportionToTheProbabilities) {
  constexpr Index tokens = 20000;
  const SparseMixer gate{.k = 1, .band = .1};
  Random random(3);
  const auto routing = gating::route(gate, Matrix<double>(logits_TE.replicate(tokens, 1)), {}, 0, &random);
  Index best = 0, full = 0;
  for (const auto& c : routing.choices) {
    best += c.expert == 2 ? 1 : 0;
    full += c.expert == 0 && c.weight > .4 ? 1 : 0;
  }
  const double spread = 3 * std::sqrt(tokens * p_of_best * (1 - p_of_best));
  EXPECT_NEAR(static_cast<double>(best), tokens * p_of_best, spread);
  EXPECT_NEAR(static_cast<double>(full), tokens * (1 - p_of_best) / 4, spread);
}

TEST(SparseMixer, OddLogitsChooseDifferentExperts) {
  constexpr double nan = support::nan_of<double>, infinity = support::infinity_of<double>;
  const Matrix<double> odd{{nan, nan, nan}, {-infinity, nan, 1}, {infinity, infinity, 0}, {0, 0, 0}};
  for (const bool training : {false, true}) {
    Random random(1);
    const auto routing = gating::route(SparseMixer{.k = 3}, odd, {}, 0, training ? &random : nullptr);
    std::set<std::pair<Index, Index>> pairs;
    for (const auto& c : routing.choices) {
      EXPECT_TRUE(c.expert >= 0 && c.expert < 3);
      EXPECT_TRUE(pairs.insert({c.token, c.expert}).second);
    }
  }
}

TEST(SparseMixer, WhereNothingIsLeftTheWeightIsZero) {
  constexpr double infinity = support::infinity_of<double>;
  const SparseMixer gate{.k = 3, .band = .1};
  const Matrix<double> masked{{1, -infinity, -infinity}};
  for (const bool training : {false, true}) {
    Random random(1);
    const auto routing = gating::route(gate, masked, {}, 0, training ? &random : nullptr);
    EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 1, 2}));
    EXPECT_EQ(gating::weights_of(routing), (std::vector<double>{1, 0, 0}));
    EXPECT_EQ(gating::backward(gate, routing, {2.0, 3.0, 4.0}).logits_TE, (Matrix<double>::Zero(1, 3)));
  }
}

TEST(SparseMixer, SettingsThatMakeNoSenseAreRefused) {
  support::expect_invalid([] { SparseMixer{.k = 4}.check(3); }, {"k is 4"});
  support::expect_invalid([] { SparseMixer{.band = -1}.check(3); }, {"band -1"});
  support::expect_invalid([] { SparseMixer{.band = support::infinity_of<double>}.check(3); }, {"band inf"});
  support::expect_invalid([] { SparseMixer{.midpoint = 0}.check(3); }, {"midpoint 0"});
}

}  // namespace sparse_mixer_test
}  // namespace moe
