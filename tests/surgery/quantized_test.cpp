#include "moe/surgery/quantized.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <limits>
#include <random>
#include <type_traits>
#include <variant>
#include <vector>

#include "moe/moe.hpp"
#include "support/bits.hpp"
#include "support/expect_invalid.hpp"
#include "support/random_model.hpp"

namespace moe {
namespace quantized_test {

constexpr Index width = 20, hidden = 33, tokens = 12;
using W = Int8Weights;

Matrix<float> some_tokens() {
  std::mt19937_64 rng{9};
  return support::random_matrix<float>(tokens, width, rng);
}

template <class X = SwiGlu<float>>
auto some_layer(std::uint64_t seed = 1) {
  std::mt19937_64 rng{seed};
  return Layer{support::random_router<float>(4, width, rng), TopK{.k = 2},
               support::random_experts<X>(4, width, hidden, rng), Losses{LoadBalanceLoss{}}, Capacity::factor(1.5)};
}

/// Converted, it is near, chooses the same experts, and has the bits of the layer of decoded weights.
template <class Some>
auto expect_converted(const Some& layer) {
  const auto fast = quantized<W>(layer);
  const auto decoded = dequantized(fast);
  static_assert(std::is_same_v<std::remove_cvref_t<decltype(decoded)>, Some>);
  static_assert(!std::is_same_v<std::remove_cvref_t<decltype(fast)>, Some>);
  const Matrix<float> x = some_tokens(), y = layer.forward(x), fast_y = fast.forward(x);
  EXPECT_TRUE(support::same_bits(fast_y, decoded.forward(x)));
  EXPECT_LE((fast_y - y).norm(), 2e-2f * y.norm());
  EXPECT_GT((fast_y - y).norm(), 0);
  return fast;
}

TEST(Quantized, ALayerKeepsAllButTheNumbersOfItsWeights) {
  const auto layer = some_layer();
  const auto fast = expect_converted(layer);
  static_assert(std::is_same_v<decltype(fast.experts), std::vector<Glu<float, Silu, W>>>);
  EXPECT_EQ(flatten(fast.router), flatten(layer.router));
  EXPECT_EQ(fast.gate.k, 2);
  decltype(layer)::Tape tape;
  std::remove_cvref_t<decltype(fast)>::Tape fast_tape;
  const Matrix<float> x = some_tokens();
  layer.forward(x, tape);
  fast.forward(x, fast_tape);
  EXPECT_EQ(layer.auxiliary_loss(tape), fast.auxiliary_loss(fast_tape));
  EXPECT_EQ(tape.plan.first_slot, fast_tape.plan.first_slot);
  ASSERT_EQ(tape.routing.choices.size(), fast_tape.routing.choices.size());
  for (std::size_t i = 0; i < tape.routing.choices.size(); ++i) {
    EXPECT_EQ(tape.routing.choices[i].expert, fast_tape.routing.choices[i].expert);
    EXPECT_EQ(tape.routing.choices[i].weight, fast_tape.routing.choices[i].weight);
  }
}

TEST(Quantized, ExpertsKeepBiasesAndSettings) {
  std::mt19937_64 rng{1};
  const ExpertOptions options{.bias = true, .multiplier = true, .dropout = 0.25};
  auto glu = support::randomized(ClampedSwiGlu<float>::random(width, hidden, rng, options, {.limit = 7}), rng);
  const auto fast = quantized<W>(glu);
  EXPECT_EQ(fast.b1_F, glu.b1_F);
  EXPECT_EQ(fast.b3_F, glu.b3_F);
  EXPECT_EQ(fast.b2_D, glu.b2_D);
  EXPECT_EQ(fast.multiplier_F, glu.multiplier_F);
  EXPECT_EQ(fast.dropout.rate, 0.25);
  EXPECT_EQ(fast.activation.limit, 7);
  EXPECT_EQ(parameter_count(fast), 2 * hidden + width + hidden) << "what could be trained";
  auto mlp = support::randomized(Mlp<float>::random(width, hidden, rng, {.bias = true, .dropout = 0.5}), rng);
  EXPECT_EQ(quantized<W>(mlp).b1_F, mlp.b1_F);
  EXPECT_EQ(quantized<W>(mlp).b2_D, mlp.b2_D);
  EXPECT_EQ(quantized<W>(mlp).dropout.rate, 0.5);
}

TEST(Quantized, FromOneStorageToAnother) {
  const auto fast = quantized<W>(some_layer());
  const auto other = quantized<Bfloat16Weights>(fast);
  EXPECT_TRUE(other.experts[1].w3_FD == Bfloat16Weights(fast.experts[1].w3_FD.matrix()));
}

TEST(Quantized, SharedAndItsLayer) {
  std::mt19937_64 rng{2};
  const Shared one{some_layer(), support::random_expert<SwiGlu<float>>(width, 50, rng),
                   SigmoidMix<float>{support::random_matrix<float>(1, width, rng)}};
  const auto fast = expect_converted(one);
  static_assert(std::is_same_v<decltype(fast.expert), Glu<float, Silu, W>>);
  expect_converted(Shared{one, support::random_expert<Mlp<float>>(width, 50, rng)});
}

TEST(Quantized, OtherExperts) { expect_converted(some_layer<Mlp<float>>()); }

TEST(Quantized, LayersInLayers) {
  std::mt19937_64 rng{3};
  using Inner = decltype(some_layer());
  const Layer outer{support::random_router<float>(2, width, rng), TopK{.k = 2},
                    std::vector<Inner>{some_layer(4), some_layer(5)}};
  const auto fast = expect_converted(outer);
  static_assert(std::is_same_v<decltype(fast.experts[0].experts), std::vector<Glu<float, Silu, W>>>);
}

TEST(Quantized, EachAlternativeOfAVariant) {
  std::mt19937_64 rng{4};
  using Any = VariantExpert<float, SwiGlu<float>, IdentityExpert<float>, Mlp<float>>;
  const std::vector<Any> experts{support::random_expert<SwiGlu<float>>(width, hidden, rng), IdentityExpert<float>{},
                                 support::random_expert<Mlp<float>>(width, 17, rng)};
  const auto fast = expect_converted(Layer{support::random_router<float>(3, width, rng), TopK{.k = 2}, experts});
  EXPECT_EQ(fast.experts[1].expert.index(), 1u);
  EXPECT_EQ(fast.experts[2].expert.index(), 2u);
}

TEST(Quantized, SoftLayer) {
  std::mt19937_64 rng{5};
  expect_converted(moe::SoftLayer<float, SwiGlu<float>>::random(
      2, width, support::random_experts<SwiGlu<float>>(3, width, hidden, rng), rng, {.normalize = true}));
}

TEST(Quantized, ExpertsWithoutTokens) {
  auto layer = some_layer();
  layer.router.bias_E << 100, 90, -100, -100;
  expect_converted(layer);
  EXPECT_EQ(quantized<W>(layer).forward(Matrix<float>(0, width)).rows(), 0);
}

TEST(Quantized, WhatNoFormatHoldsIsRefused) {
  auto layer = some_layer();
  layer.experts[2].w3_FD(4, 5) = std::numeric_limits<float>::infinity();
  support::expect_invalid([&] { quantized<W>(layer); }, {"Int8Weights", "weight (4, 5) is inf"});
}

TEST(Quantized, CostCountsTheBytesOfTheStorage) {
  const auto fast = quantized<Bfloat16Weights>(some_layer());
  std::remove_cvref_t<decltype(fast)>::Tape tape;
  fast.forward(some_tokens(), tape);
  const Cost cost = cost_of(fast, tape);
  const Index router = 4 * width + 4, biases = 2 * hidden + width, weights = 3 * width * hidden;
  const Index bytes = 2 * (2 * 48 * 32 + 32 * 48);  // panels of 16 outputs, blocks of 16 inputs
  EXPECT_EQ(cost.parameters, router + 4 * (weights + biases));
  EXPECT_EQ(cost.bytes, 4 * router + 4 * (bytes + 4 * biases));
  EXPECT_EQ(cost.multiply_adds_per_token(), 4 * width + 2 * weights * 1.0);
}

TEST(Quantized, CostCountsThemInEveryKindOfLayer) {
  std::mt19937_64 rng{5};
  const auto soft = quantized<Bfloat16Weights>(moe::SoftLayer<float, SwiGlu<float>>::random(
      2, width, support::random_experts<SwiGlu<float>>(3, width, hidden, rng), rng, {}));
  std::remove_cvref_t<decltype(soft)>::Tape tape;
  soft.forward(some_tokens(), tape);
  EXPECT_GE(cost_of(soft, tape).parameters, 3 * 3 * width * hidden);
  // Idle experts, of different types, and a batch without tokens: as many parameters.
  using Either = VariantExpert<float, SwiGlu<float>, Mlp<float>>;
  std::vector<Either> experts{Either{SwiGlu<float>::random(width, hidden, rng)},
                              Either{Mlp<float>::random(width, hidden, rng)}};
  Layer mixed{Router<float>::random(2, width, rng), switch_top1(), experts};
  mixed.router.bias_E = Vector<float>{{100, -100}};
  const auto fast = quantized<Bfloat16Weights>(mixed);
  std::remove_cvref_t<decltype(fast)>::Tape one, none;
  fast.forward(some_tokens(), one);
  fast.forward(Matrix<float>(0, width), none);
  EXPECT_GE(cost_of(fast, one).parameters, 5 * width * hidden);
  EXPECT_EQ(cost_of(fast, none).parameters, cost_of(fast, one).parameters);
  EXPECT_EQ(cost_of(fast, none).bytes, cost_of(fast, one).bytes);
}

TEST(Quantized, AVariantOfTwoStoragesIsConvertedWhole) {
  std::mt19937_64 rng{5};
  using Coded = Glu<float, Silu, W>;
  using Either = VariantExpert<float, SwiGlu<float>, Coded>;
  const auto plain = SwiGlu<float>::random(width, hidden, rng);
  const std::vector<Either> experts{Either{plain}, Either{plain.stored_as<W>()}};
  const Layer layer{Router<float>::random(2, width, rng), TopK{.k = 2}, experts};
  const auto fast = quantized<W>(layer);
  const auto exact = dequantized(layer);
  EXPECT_EQ(fast.experts[0].expert.index(), 0u);
  EXPECT_EQ(fast.experts[1].expert.index(), 1u);
  EXPECT_EQ(std::get<1>(exact.experts[1].expert).w1_FD.matrix(), std::get<1>(layer.experts[1].expert).w1_FD.matrix());
}

TEST(Quantized, OnlyWhatCanBeTrainedIsAParameter) {
  const auto fast = quantized<W>(some_layer());
  EXPECT_EQ(parameter_count(fast), 4 * width + 4 + 4 * (2 * hidden + width));
}

}  // namespace quantized_test
}  // namespace moe
