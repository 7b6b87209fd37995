#include "moe/layer/tape.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "support/expect_invalid.hpp"

namespace moe {
namespace tape_test {

struct Nothing {};
struct Drawing {
  std::optional<Random> random;
  float loss_scale = 0;
};
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

TEST(LayerTape, BeginForgetsThePassBefore) {
  Tape tape = example();
  tape.width = 2;
  tape.begin(Matrix<float>::Ones(4, 2), 3);
  EXPECT_EQ(tape.width, -1);
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

TEST(LayerTape, AnExpertsTapeIsSeededInTrainingAndEmptiedOtherwise) {
  Random random(3), same(3);
  Drawing drawing;
  detail::hand_down(&random, drawing);
  detail::hand_down_scale(0.5f, drawing);
  EXPECT_EQ(drawing.random->uniform(), Random(same.seed()).uniform());
  EXPECT_EQ(drawing.loss_scale, 0.5f);
  detail::hand_down(nullptr, drawing);
  detail::hand_down_scale(1.0f, drawing);
  EXPECT_FALSE(drawing.random.has_value());
}

TEST(LayerTape, AnExpertsTapeWithoutAGeneratorDrawsNoSeed) {
  Random random(3), same(3);
  Nothing nothing;
  detail::hand_down(&random, nothing);
  detail::hand_down_scale(1.0f, nothing);
  EXPECT_EQ(random.uniform(), same.uniform());
}

}  // namespace tape_test
}  // namespace moe
