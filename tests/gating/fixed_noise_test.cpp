#include "moe/gating/fixed_noise.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "gating/route.hpp"
#include "moe/gating/softmax.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace fixed_noise_test {

using support::expect_invalid;

const FixedNoise gate{TopK{.k = 1, .weights = ChoiceWeights::probabilities()}, 0.5};
const Matrix<float> logits_TE{{1, 2}};

TEST(FixedNoise, TheNoisyLogitsDecide) {
  // The standard deviation is 0.5 / 2: logits 1 + 8 / 4 and 2 - 4 / 4.
  Random random = Random::recorded({8, -4});
  const auto routing = gating::route(gate, logits_TE, {}, 0, &random);
  EXPECT_TRUE(routing.noise.drawn);
  EXPECT_EQ(routing.noise.logits_TE, (Matrix<float>{{3, 1}}));
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0}));
  EXPECT_EQ(routing.logits_TE, logits_TE);
}

TEST(FixedNoise, TheProbabilitiesAreOfTheNoisyLogits) {
  Random random = Random::recorded({8, -4});
  const auto routing = gating::route(gate, logits_TE, {}, 0, &random);
  EXPECT_EQ(routing.probabilities_TE, gating::route(gate, routing.noise.logits_TE).probabilities_TE);
  EXPECT_NE(routing.probabilities_TE, gating::route(gate, logits_TE).probabilities_TE);
}

TEST(FixedNoise, WithoutAGeneratorThereIsNone) {
  const auto routing = gating::route(gate, logits_TE);
  EXPECT_FALSE(routing.noise.drawn);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{1}));
}

TEST(FixedNoise, PaddingDrawsNothing) {
  const std::vector<std::uint8_t> valid{0, 1};
  Random random = Random::recorded({8, -4});
  const auto routing = gating::route(gate, Matrix<float>{{0, 0}, {1, 2}}, valid, 0, &random);
  EXPECT_EQ(routing.noise.logits_TE.row(1), (Matrix<float>{{3, 1}}));
}

TEST(FixedNoise, TheGradientOfTheNoisyLogitsIsThatOfTheLogits) {
  // The noise is a constant: p = softmax(3, 1) = (s, 1 - s), dp0 = s (1 - s).
  Random random = Random::recorded({8, -4});
  const auto routing = gating::route(gate, logits_TE, {}, 0, &random);
  const auto drouting = gating::backward(gate, routing, {1.0f});
  const float s = routing.probabilities_TE(0, 0);
  EXPECT_NEAR(drouting.logits_TE(0, 0), s * (1 - s), 1e-7);
  EXPECT_NEAR(drouting.logits_TE(0, 1), -s * (1 - s), 1e-7);
}

TEST(FixedNoise, AStandardDeviationThatIsNotPositiveAndFiniteIsRefused) {
  for (const double stddev : {0.0, -1.0, support::nan_of<double>, support::infinity_of<double>})
    expect_invalid([&] { (FixedNoise{TopK{.k = 2}, stddev}.check(4)); }, {"FixedNoise: stddev is"});
}

TEST(FixedNoise, TheGatesOwnCheckIsAsked) {
  expect_invalid([] { (FixedNoise{TopK{.k = 5}, 1.0}.check(4)); }, {"k is 5"});
  EXPECT_NO_THROW((FixedNoise{Softmax{}, 1.0}.check(4)));
}

}  // namespace fixed_noise_test
}  // namespace moe
