#include "moe/gating/noisy_top_k.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "gating/route.hpp"
#include "moe/core/parameters.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace noisy_top_k_test {

using support::expect_invalid;

const TopK top1{.k = 1, .weights = ChoiceWeights::probabilities()};
const Matrix<double> x_TD{{1, 2}}, logits_TE{{1, 2}};

/// softplus(0) = ln 2 for both experts.
NoisyTopK<double> example() {
  auto gate = NoisyTopK<double>::zeros(2, 2, top1);
  gate.epsilon = 0;
  return gate;
}

TEST(NoisyTopK, TheStandardDeviationIsSoftplusPlusEpsilon) {
  NoisyTopK<double> gate = example();
  gate.epsilon = 0.25;
  gate.noise_weight_ED << 1, 1, -1, 0;  // x w' = 3, -1
  Random random = Random::recorded({0, 0});
  const auto routing = gating::route<NoisyTopK<double>, double>(gate, x_TD, logits_TE, &random);
  EXPECT_NEAR(routing.noise.stddev_TE(0, 0), std::log(1 + std::exp(3.0)) + 0.25, 1e-14);
  EXPECT_NEAR(routing.noise.stddev_TE(0, 1), std::log(1 + std::exp(-1.0)) + 0.25, 1e-14);
}

TEST(NoisyTopK, TheNoisyLogitsDecide) {
  Random random = Random::recorded({3, -3});
  const auto routing = gating::route<NoisyTopK<double>, double>(example(), x_TD, logits_TE, &random);
  EXPECT_NEAR(routing.noise.logits_TE(0, 0), 1 + 3 * std::log(2.0), 1e-14);
  EXPECT_NEAR(routing.noise.logits_TE(0, 1), 2 - 3 * std::log(2.0), 1e-14);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0}));
}

TEST(NoisyTopK, HugePreactivationsGiveFiniteStandardDeviations) {
  NoisyTopK<double> gate = example();
  gate.noise_weight_ED << 1e6, 0, -1e6, 0;
  Random random = Random::recorded({0, 0});
  const auto routing = gating::route<NoisyTopK<double>, double>(gate, x_TD, logits_TE, &random);
  EXPECT_EQ(routing.noise.stddev_TE, (Matrix<double>{{1e6, 0}}));
}

TEST(NoisyTopK, WithoutAGeneratorThereIsNoNoise) {
  const auto routing = gating::route<NoisyTopK<double>, double>(example(), x_TD, logits_TE);
  EXPECT_FALSE(routing.noise.drawn);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{1}));
}

TEST(NoisyTopK, PaddingDrawsNothing) {
  const Matrix<double> two_TD{{5, 5}, {1, 2}}, two_TE{{0, 0}, {1, 2}};
  const std::vector<std::uint8_t> valid{0, 1};
  Batch<double> batch = two_TD;
  batch.valid = valid;
  Random random = Random::recorded({3, -3});
  const auto routing = gating::route(example(), batch, two_TE, &random);
  EXPECT_NEAR(routing.noise.logits_TE(1, 0), 1 + 3 * std::log(2.0), 1e-14);
}

TEST(NoisyTopK, TheNoiseWeightLearnsThroughTheStandardDeviation) {
  // Noisy logits H = logits + n ln 2; dweight = 1 on the chosen expert 0: dH = p0 p1 (1, -1), dstddev = dH n, and the
  // slope of softplus at 0 is 1/2: dnoise_weight row e = dH_e n_e / 2 x.
  Random random = Random::recorded({3, -3});
  const NoisyTopK<double> gate = example();
  const auto routing = gating::route<NoisyTopK<double>, double>(gate, x_TD, logits_TE, &random);
  Routing<double> drouting;
  drouting.reset_gradient(routing);
  drouting.choices[0].weight = 1;
  Matrix<double> dx_TD = Matrix<double>::Zero(1, 2);
  NoisyTopK<double> gradient = zeros_like(gate);
  gate.backward(x_TD, routing, drouting, dx_TD, gradient);
  const double slope = routing.probabilities_TE(0, 0) * routing.probabilities_TE(0, 1);
  EXPECT_TRUE(drouting.logits_TE.isApprox(slope * Matrix<double>{{1, -1}}, 1e-13));
  EXPECT_TRUE(gradient.noise_weight_ED.isApprox(1.5 * slope * Matrix<double>{{1, 2}, {1, 2}}, 1e-13));
  EXPECT_EQ(dx_TD, (Matrix<double>{{0, 0}}));  // the noise weight is 0
}

TEST(NoisyTopK, ShapesThatDoNotFitAreRefused) {
  expect_invalid([] { example().check(3); }, {"2 rows for 3 experts"});
  const Matrix<double> wide_TD = Matrix<double>::Zero(1, 5);
  expect_invalid([&] { (gating::route<NoisyTopK<double>, double>(example(), wide_TD, logits_TE)); },
                 {"width 2", "these have 5"});
  expect_invalid([] { NoisyTopK<double>::zeros(0, 2, top1); }, {"0 experts"});
}

TEST(NoisyTopK, AGradientOfAnotherShapeIsRefused) {
  const auto routing = gating::route<NoisyTopK<double>, double>(example(), x_TD, logits_TE);
  Routing<double> drouting;
  drouting.reset_gradient(routing);
  Matrix<double> dx_TD = Matrix<double>::Zero(1, 2);
  auto gradient = NoisyTopK<double>::zeros(2, 3, top1);
  expect_invalid([&] { example().backward(x_TD, routing, drouting, dx_TD, gradient); }, {"2 x 3"});
}

TEST(NoisyTopK, SettingsThatDoNotFitAreRefused) {
  NoisyTopK<double> gate = example();
  gate.epsilon = -1;
  expect_invalid([&] { gate.check(2); }, {"epsilon is -1"});
  gate = example();
  gate.gate.k = 3;
  expect_invalid([&] { gate.check(2); }, {"k is 3"});
}

}  // namespace noisy_top_k_test
}  // namespace moe
