// Compiled with -ffast-math, under which the compiler assumes that there are no NaN and no infinities. Results may then
// differ; indices out of range, experts chosen twice, and silent acceptance of NaN settings may not occur.
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <stdexcept>
#include <vector>

#include "hygiene/train_once.hpp"
#include "moe/moe.hpp"

namespace {

constexpr moe::Index tokens = 64, experts = 7, width = 4;

/// Any float whatever: NaN, infinities and denormals too.
moe::Matrix<float> any_bits(moe::Index rows, moe::Index cols, std::mt19937& generator) {
  const auto any = [&] {
    const auto bits = static_cast<std::uint32_t>(generator());
    return std::bit_cast<float>(bits % 4 == 0 ? bits | 0x7f800000u : bits);
  };
  return moe::Matrix<float>::NullaryExpr(rows, cols, any);
}

template <class Gate>
void expect_sound_choices(const Gate& gate, moe::Index choices_per_token) {
  std::mt19937 generator{5};
  for (int round = 0; round < 50; ++round) {
    moe::Layer layer{moe::Router<float>::zeros(experts, width), gate,
                     moe::make_experts<moe::Mlp<float>>(experts, width, 8, generator)};
    layer.router.weight_ED = any_bits(experts, width, generator);
    typename decltype(layer)::Tape tape;
    layer.forward(any_bits(tokens, width, generator), tape);

    std::vector<std::set<moe::Index>> chosen(tokens);
    for (const auto& choice : tape.routing.choices) {
      ASSERT_TRUE(choice.token >= 0 && choice.token < tokens) << choice.token;
      ASSERT_TRUE(choice.expert >= 0 && choice.expert < experts) << choice.expert;
      ASSERT_TRUE(chosen[static_cast<std::size_t>(choice.token)].insert(choice.expert).second) << "chosen twice";
    }
    for (const auto& of_token : chosen) ASSERT_EQ(std::ssize(of_token), choices_per_token);
  }
}

}  // namespace

TEST(FastMath, ChoicesAreInRangeAndDistinct) {
  expect_sound_choices(moe::TopK{.k = 2}, 2);
  expect_sound_choices(moe::TopK{.k = experts}, experts);
  expect_sound_choices(moe::Softmax{}, experts);
}

TEST(FastMath, NonFiniteSettingsAreRefused) {
  // From their bits, by memory: under -ffast-math a function that returns one may return anything.
  const volatile std::uint64_t bits_of_nan = 0x7ff8000000000000, bits_of_infinity = 0x7ff0000000000000;
  const std::uint64_t bits[] = {bits_of_nan, bits_of_infinity};
  double values[2];
  std::memcpy(values, bits, sizeof values);
  const double &nan = values[0], &infinity = values[1];
  EXPECT_THROW(moe::Capacity::formula({.factor = nan}), std::invalid_argument);
  EXPECT_THROW(moe::Capacity::formula({.factor = infinity}), std::invalid_argument);
  EXPECT_THROW(moe::Capacity::factor(nan), std::invalid_argument);
  EXPECT_THROW(moe::Capacity::factor(infinity), std::invalid_argument);
  EXPECT_THROW((moe::FixedNoise<moe::TopK>{moe::TopK{.k = 1}, nan}.check(experts)), std::invalid_argument);
  for (const double* value : {&nan, &infinity}) {
    EXPECT_THROW(moe::ChoiceWeights::renormalized({.epsilon = *value}), std::invalid_argument);
    EXPECT_THROW(moe::ChoiceWeights::renormalized({.norm = *value}), std::invalid_argument);
    EXPECT_THROW(moe::Scores::sigmoid({.epsilon = *value}), std::invalid_argument);
    EXPECT_THROW(moe::Scores::sigmoid({.scale = *value}), std::invalid_argument);
  }
}

TEST(FastMath, Trains) { EXPECT_GT(moe::hygiene::train_once(1), -1e6); }
