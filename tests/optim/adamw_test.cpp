#include "moe/optim/adamw.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "optim/toy.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace adamw_test {

using optim::Toy;
using optim::toy;
using support::expect_invalid;

TEST(AdamW, TheFirstStepIsTheLearningRateInTheGradientsDirection) {
  // m / (1 - beta1) = g, v / (1 - beta2) = g^2: p - rate g / (|g| + epsilon).
  Toy model;
  AdamW adam{model, {.learning_rate = 0.5, .epsilon = 1e-12}};
  EXPECT_TRUE(adam.step(model, toy(3, -0.01, 1e-3f)));
  EXPECT_TRUE(flatten(model).isApprox(Vector<double>{{0.5, -1.5, 3.5}}, 1e-6));
}

TEST(AdamW, EpsilonIsAddedToTheRoot) {
  Toy model;
  AdamW adam{model, {.learning_rate = 1, .epsilon = 1}};
  EXPECT_TRUE(adam.step(model, toy(1, -3, 0)));
  EXPECT_TRUE(flatten(model).isApprox(Vector<double>{{1 - 0.5, -2 + 0.75, 4}}, 1e-12));
}

TEST(AdamW, TheSecondStepWeighsBothGradients) {
  Toy model;
  AdamW adam{model, {.learning_rate = 1, .beta1 = 0.5, .beta2 = 0.75, .epsilon = 1e-12}};
  EXPECT_TRUE(adam.step(model, toy(1, 0, 0)));
  EXPECT_TRUE(adam.step(model, toy(-2, 0, 0)));
  // m = 0.5 * 0.5 - 0.5 * 2 = -0.75, over 1 - 0.25; v = 0.75 * 0.25 + 0.25 * 4 = 1.1875, over 1 - 0.5625.
  const double second = -0.75 / 0.75 / std::sqrt(1.1875 / 0.4375);
  EXPECT_NEAR(model.weight(0, 0), 1 - 1 - second, 1e-10);
  EXPECT_EQ(adam.steps, 2);
}

TEST(AdamW, WeightDecayIsApartFromTheGradient) {
  Toy model;
  AdamW adam{model, {.learning_rate = 0.5, .weight_decay = 0.5}};
  EXPECT_TRUE(adam.step(model, toy(0, 0, 0)));
  EXPECT_EQ(flatten(model), (Vector<double>{{0.75, -1.5, 3}}));
}

TEST(AdamW, FrozenParametersAndTheirMomentsKeepTheirBits) {
  Toy model;
  AdamW adam{model, {.weight_decay = 0.1}};
  adam.frozen = {"bias"};
  EXPECT_TRUE(adam.step(model, toy(2, 2, 2)));
  EXPECT_EQ(model.bias, Toy().bias);
  EXPECT_NE(model.weight, Toy().weight);
  // mean: weight, bias; square: weight, bias.
  EXPECT_EQ(flatten(adam)(2), 0);
  EXPECT_EQ(flatten(adam)(5), 0);
  EXPECT_NE(flatten(adam)(0), 0);
}

TEST(AdamW, AGradientThatIsNotFiniteChangesNothing) {
  for (const double value : {support::nan_of<double>, support::infinity_of<double>, -support::infinity_of<double>}) {
    Toy model;
    AdamW adam{model};
    EXPECT_FALSE(adam.step(model, toy(1, value, 1)));
    EXPECT_FALSE(adam.step(model, toy(1, 1, static_cast<float>(value))));
    EXPECT_TRUE(support::same_parameters(model, Toy()));
    EXPECT_EQ(flatten(adam), Vector<double>::Zero(6));
    EXPECT_EQ(adam.steps, 0);
  }
}

TEST(AdamW, AStepThatClipsIsTheStepOfTheClippedGradient) {
  for (const Toy& gradient : {toy(2, -3, 6), toy(1e-3, 2e-3, 1e-3f), toy(1e19, 3, 1e20f), toy(1e36, 1, 1)}) {
    Toy clipped = gradient, model, other;
    AdamW adam{model, {.clip_norm = 0.7}}, plain{model};
    const double norm = clip_global_norm(clipped, 0.7);
    EXPECT_TRUE(adam.step(model, gradient) && plain.step(other, clipped));
    EXPECT_EQ(adam.gradient_norm(), norm);
    EXPECT_TRUE(support::same_parameters(model, other));
    EXPECT_EQ(flatten(adam), flatten(plain));
  }
}

TEST(AdamW, AGradientTooLongToBeClippedInItsTypeIsRefused) {
  Toy model;
  AdamW adam{model, {.clip_norm = 1e-4}};
  EXPECT_FALSE(adam.step(model, toy(0, 0, 3e38f)));
  EXPECT_TRUE(support::same_parameters(model, Toy()));
}

TEST(AdamW, TheGradientIsSetToZeroByAStepThatIsMade) {
  Toy model, other, gradient = toy(1, 2, 3);
  AdamW adam{model, {.zero_gradient = true}}, plain{model};
  adam.frozen = plain.frozen = {"bias"};
  EXPECT_TRUE(adam.step(model, gradient) && plain.step(other, toy(1, 2, 3)));
  EXPECT_EQ(flatten(gradient), Vector<double>::Zero(3));
  EXPECT_TRUE(support::same_parameters(model, other));
  gradient = toy(1, support::nan_of<double>, 3);
  EXPECT_FALSE(adam.step(model, gradient));
  EXPECT_TRUE(support::same_parameters(gradient, toy(1, support::nan_of<double>, 3)));
  const Toy fixed = toy(1, 2, 3);
  expect_invalid([&] { (void)adam.step(model, fixed); }, {"AdamW::step: options.zero_gradient"});
  expect_invalid([&] { (void)adam.step(model, toy(1, 2, 3)); }, {"this gradient is const"});
}

TEST(AdamW, TheGradientOfWhatIsFrozenNeitherScalesNorRefusesAStep) {
  for (const float frozen : {1000.0f, support::nan_of<float>, support::infinity_of<float>}) {
    Toy model, other;
    AdamW adam{model, {.clip_norm = 1}}, plain{model};
    adam.frozen = {"bias"};
    EXPECT_TRUE(adam.step(model, toy(0.5, 0.25, frozen)) && plain.step(other, toy(0.5, 0.25, 0)));
    EXPECT_EQ(model.weight, other.weight);
    EXPECT_LT(adam.gradient_norm(), 1);
  }
}

TEST(AdamW, ACopyGoesOnAsTheOriginal) {
  Toy model;
  AdamW adam{model};
  EXPECT_TRUE(adam.step(model, toy(1, 2, 3)));
  Toy copied_model = model;
  AdamW copy = adam;
  EXPECT_TRUE(adam.step(model, toy(3, 2, 1)) && copy.step(copied_model, toy(3, 2, 1)));
  EXPECT_TRUE(support::same_parameters(model, copied_model));
}

TEST(AdamW, OtherShapesAreRefused) {
  Toy model, wide{Matrix<double>::Zero(2, 2)}, wide_gradient = wide;
  AdamW adam{model};
  expect_invalid([&] { (void)adam.step(model, wide); }, {"gradient", "'weight' is 1 x 2", "2 x 2"});
  expect_invalid([&] { (void)adam.step(wide, wide_gradient); },
                 {"the optimiser's model", "'weight' is 2 x 2", "1 x 2"});
  EXPECT_TRUE(support::same_parameters(model, Toy()));
}

TEST(AdamW, OptionsThatDoNotFitAreRefused) {
  const Toy model;
  expect_invalid([&] { AdamW(model, {.learning_rate = support::nan_of<double>}); }, {"learning_rate is"});
  expect_invalid([&] { AdamW(model, {.beta1 = 1}); }, {"beta1 and beta2 are 1"});
  expect_invalid([&] { AdamW(model, {.beta2 = -0.1}); }, {"-0.1"});
  expect_invalid([&] { AdamW(model, {.epsilon = 0}); }, {"epsilon is 0"});
  expect_invalid([&] { AdamW(model, {.weight_decay = -1}); }, {"weight_decay is -1"});
  expect_invalid([&] { AdamW(model, {.clip_norm = 0}); }, {"AdamW: clip_norm is 0", "infinity"});
  expect_invalid([&] { AdamW(model, {.clip_norm = support::nan_of<double>}); }, {"clip_norm is"});
}

TEST(AdamW, OptionsChangedLaterAreCheckedAtTheNextStep) {
  Toy model;
  AdamW adam{model};
  adam.options.learning_rate = -1;
  expect_invalid([&] { (void)adam.step(model, toy(1, 1, 1)); }, {"learning_rate is -1"});
  EXPECT_EQ(adam.steps, 0);
}

}  // namespace adamw_test
}  // namespace moe
