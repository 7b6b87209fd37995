// The gate of examples/custom_gate.cpp keeps the contract that its reader is to learn.
#define main custom_gate_main
#include "custom_gate.cpp"
#undef main

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <utility>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace custom_gate_test {

using Pairs = std::set<std::pair<Index, Index>>;

constexpr HighScores gate{.lowest_score = .6};
const Matrix<double> x_TD = support::random_matrix<double>(20, 5, 1);

/// Who is chosen by a layer with this gate, in a training pass.
template <class G>
std::pair<Pairs, Routing<double>> chosen_by(const G& some_gate) {
  std::mt19937_64 rng(2);
  const Layer layer{Router<double>::random(4, 5, rng), some_gate, make_experts<Linear<double>>(4, 5, 5, rng)};
  typename decltype(layer)::Tape tape{3};
  layer.forward(x_TD, tape);
  Pairs pairs;
  for (const auto& choice : tape.routing.choices) pairs.insert({choice.token, choice.expert});
  return {pairs, tape.routing};
}

/// The pairs whose logit is high enough.
Pairs high_ones(const Matrix<double>& logits_TE) {
  Pairs pairs;
  for (Index t = 0; t < logits_TE.rows(); ++t)
    for (Index e = 0; e < logits_TE.cols(); ++e)
      if (1 / (1 + std::exp(-logits_TE(t, e))) >= gate.lowest_score) pairs.insert({t, e});
  return pairs;
}

TEST(CustomGate, ChoosesTheHighScores) {
  const auto [pairs, routing] = chosen_by(gate);
  EXPECT_FALSE(pairs.empty());
  EXPECT_EQ(pairs, high_ones(routing.logits_TE));
}

TEST(CustomGate, StrongNoiseDecides) {
  const auto [pairs, routing] = chosen_by(FixedNoise{gate, 1e4});
  EXPECT_EQ(pairs, high_ones(routing.noise.logits_TE));
  EXPECT_EQ(pairs, high_ones(routing.noise.normal_TE * 2500));
  EXPECT_NE(pairs, high_ones(routing.logits_TE));
}

TEST(CustomGate, NoiseThatDoesNotWeighChangesTheChoicesAlone) {
  const auto [pairs, routing] = chosen_by(GumbelNoise<HighScores>{.gate = gate, .temperature = 10});
  EXPECT_EQ(pairs, high_ones(routing.noise.logits_TE));
  EXPECT_NE(pairs, high_ones(routing.logits_TE));
  for (const auto& choice : routing.choices)
    EXPECT_NEAR(choice.weight, 1 / (1 + std::exp(-routing.logits_TE(choice.token, choice.expert))), 1e-12);
}

template <class G>
void expect_right_gradients(const G& some_gate) {
  std::mt19937_64 rng(2);
  const Layer layer{Router<double>::random(4, 5, rng), some_gate, make_experts<Linear<double>>(4, 5, 5, rng)};
  const auto report = testing::check_layer_gradients(layer, x_TD, {.tape_seed = 3});
  EXPECT_TRUE(report) << report;
}

TEST(CustomGate, GradientsAreRightWithNoiseTooThatWeighsOrDoesNot) {
  expect_right_gradients(gate);
  expect_right_gradients(FixedNoise{gate, 4});
  expect_right_gradients(GumbelNoise<HighScores>{.gate = gate, .temperature = 1});
}

}  // namespace custom_gate_test
}  // namespace moe
