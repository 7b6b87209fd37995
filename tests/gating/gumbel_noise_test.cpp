#include "moe/gating/gumbel_noise.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "gating/route.hpp"
#include "moe/gating/expert_choice.hpp"

namespace moe {
namespace gumbel_noise_test {

constexpr TopK top(Index k) { return {.k = k, .weights = ChoiceWeights::probabilities()}; }
const Matrix<double> logits_TE{{2, 1, 0}};

TEST(GumbelNoise, DecidesButDoesNotWeigh) {
  Random random = Random::recorded({0, 0, 5});
  const auto routing = gating::route(GumbelNoise<TopK>{top(1)}, logits_TE, {}, 0, &random);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{2}));
  EXPECT_NEAR(routing.choices[0].weight, 1 / (1 + std::exp(1.) + std::exp(2.)), 1e-15);
}

TEST(GumbelNoise, TheFirstMayBeTheBestWithoutIt) {
  Random random = Random::recorded({0, 0, 5});
  const auto routing = gating::route(GumbelNoise<TopK>{top(2), true}, logits_TE, {}, 0, &random);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 2}));
}

TEST(GumbelNoise, TheBestIsEachTokensOwn) {
  const Matrix<double> z{{2, 1, 0}, {0, 1, 2}, {0, 3, 0}, {5, 0, 0}};
  Random random = Random::recorded({0, 0, 5, 5, 0, 0, 0, 0, 5, 0, 5, 0});
  const auto routing = gating::route(GumbelNoise<TopK>{top(2), true}, z, {}, 0, &random);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 2, 1, 0, 2, 0, 2, 1}));
}

TEST(GumbelNoise, WithoutAGeneratorThereIsNone) {
  const auto routing = gating::route(GumbelNoise<TopK>{top(1)}, logits_TE);
  EXPECT_FALSE(routing.noise.drawn);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0}));
}

// Of 20000 draws each expert gets its probability, within three standard deviations.
TEST(GumbelNoise, ChoosesInProportionToTheProbabilities) {
  constexpr int draws = 20000;
  Random random(4);
  const Matrix<double> many_TE = logits_TE.replicate(draws, 1);
  const auto routing = gating::route(GumbelNoise<TopK>{top(1)}, many_TE, {}, 0, &random);
  Vector<double> count = Vector<double>::Zero(3);
  for (const auto& c : routing.choices) count(c.expert) += 1;
  for (Index e = 0; e < 3; ++e) {
    const double p = routing.probabilities_TE(0, e);
    EXPECT_NEAR(count(e) / draws, p, 3 * std::sqrt(p * (1 - p) / draws));
  }
}

// Experts compare tokens by the noisy logits; the weights are the probabilities without noise, and so are their
// gradients.
TEST(GumbelNoise, ExpertsThatChooseTokensWeighWithoutIt) {
  const Matrix<double> z{{1, 0}, {0, 0}, {-1, 0}};
  for (const auto axis : {ExpertChoice::Axis::experts, ExpertChoice::Axis::tokens}) {
    const ExpertChoice chooser{.factor = 2. / 3, .softmax_axis = axis};
    const GumbelNoise<ExpertChoice> gate{chooser};
    Random random = Random::recorded({0, 0, 0, 0, 9, 0});
    const auto routing = gating::route(gate, z, {}, 0, &random), clean = gating::route(chooser, z);
    EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{2, axis == ExpertChoice::Axis::experts ? 1 : 0}));
    EXPECT_EQ(routing.probabilities_TE, clean.probabilities_TE);
    EXPECT_EQ(routing.choices[0].weight, clean.probabilities_TE(2, 0));
    const auto drouting = gating::backward(gate, routing, {1., 0.});
    const double p = clean.probabilities_TE(2, 0);
    EXPECT_NEAR(drouting.logits_TE(2, 0), p * (1 - p), 1e-15);
  }
}

TEST(GumbelNoise, ATemperatureScalesIt) {
  for (const double temperature : {.5, 2.}) {
    Random random = Random::recorded({0, 0, 3});
    const auto routing =
        gating::route(GumbelNoise<TopK>{.gate = top(1), .temperature = temperature}, logits_TE, {}, 0, &random);
    EXPECT_EQ(routing.noise.logits_TE, (Matrix<double>{{2, 1, 3 * temperature}}));
    EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{temperature == 2 ? 2 : 0}));
  }
  for (const double temperature : {0., 1e-50, 1e50})  // in float 0 and infinite
    EXPECT_THROW((GumbelNoise<TopK>{.gate = top(1), .temperature = temperature}.check(3)), std::invalid_argument);
}

}  // namespace gumbel_noise_test
}  // namespace moe
