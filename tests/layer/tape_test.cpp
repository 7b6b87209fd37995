#include "moe/layer/tape.hpp"

#include <gtest/gtest.h>

#include "support/expect_invalid.hpp"

namespace moe {
namespace tape_test {

struct Nothing {};
using Tape = LayerTape<float, Nothing, Nothing>;

/// One token with two choices of which the first has a slot.
Tape example() {
  const Matrix<float> x_TD = Matrix<float>::Ones(1, 2);
  Tape tape;
  tape.begin(x_TD, 2);
  tape.routing.choices = {{0, 1, 0.5f}, {0, 1, 0.5f}};
  tape.plan.build(x_TD, tape.routing, Capacity::exactly(1), true);
  tape.y_NO = Matrix<float>::Ones(1, 3);
  return tape;
}

TEST(LayerTape, HoldsAGeneratorForTrainingOnly) {
  EXPECT_FALSE(Tape().random.has_value());
  EXPECT_TRUE(Tape(7).random.has_value());
  EXPECT_EQ(Tape(Random::recorded({0.25})).random->uniform(), 0.25);
}

TEST(LayerTape, TellsWhatThePassTookForATokenAndAnInnerLayerItsTokens) {
  const Matrix<float> x_TD = Matrix<float>::Ones(3, 2);
  Batch<float> batch = x_TD;
  batch.valid = {1, 0, 1};
  Tape tape;
  tape.begin(batch, 2);
  EXPECT_TRUE(tape.is_valid(0) && !tape.is_valid(1));
  EXPECT_EQ(tape.valid_tokens(), 2);
  EXPECT_EQ(tape.valid_T().size(), 3u);
  tape.outer.ids = {7, 8, 9};
  tape.outer.numbers = {4, 5};  // of another number of rows
  const Batch<float> inner = tape.inner_batch(x_TD);
  EXPECT_EQ(inner.ids[1], 8);
  EXPECT_TRUE(inner.numbers.empty());
}

TEST(LayerTape, BeginForgetsThePassBefore) {
  Tape tape = example();
  tape.width = tape.routed_width = 2;
  tape.ran_experts = tape.kept_activations = true;
  tape.begin(Matrix<float>::Ones(4, 2), 3);
  EXPECT_TRUE(tape.width == -1 && tape.routed_width == -1 && !tape.ran_experts && !tape.kept_activations);
  EXPECT_EQ(tape.routing.tokens(), 4);
  EXPECT_TRUE(tape.routing.choices.empty());
}

TEST(LayerTape, TheWeightsGradientGoesToTheChoicesThatHaveSlots) {
  Tape tape = example();
  tape.begin_backward(Matrix<float>::Zero(1, 3), Vector<float>::Constant(1, 9));
  tape.plan.backward(tape.dweight_N, tape.drouting);
  ASSERT_EQ(tape.drouting.choices.size(), 2u);
  EXPECT_EQ(tape.drouting.choices[0].weight, 9);
  EXPECT_EQ(tape.drouting.choices[1].weight, 0);
}

TEST(LayerTape, GradientsOfOtherSlotsAreRefused) {
  Tape tape = example();
  support::expect_invalid([&] { tape.begin_backward(Matrix<float>::Zero(2, 3), Vector<float>::Zero(1)); },
                          {"2 x 3", "1 slots of width 3"});
  support::expect_invalid([&] { tape.begin_backward(Matrix<float>::Zero(1, 3), Vector<float>::Zero(4)); },
                          {"4 weights"});
}

}  // namespace tape_test
}  // namespace moe
