#include "moe/optim/sgd.hpp"

#include <gtest/gtest.h>

#include <random>

#include "moe/core/random.hpp"
#include "optim/toy.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace sgd_test {

using optim::Toy;
using optim::toy;
using support::expect_invalid;

TEST(Sgd, AStepGoesDownTheGradient) {
  Toy model;
  Sgd sgd{model, {.learning_rate = 0.5}};
  EXPECT_TRUE(sgd.step(model, toy(2, 4, -2)));
  EXPECT_EQ(flatten(model), (Vector<double>{{0, -4, 5}}));
}

TEST(Sgd, MomentumAddsThePastGradients) {
  Toy model;
  Sgd sgd{model, {.learning_rate = 1, .momentum = 0.5}};
  EXPECT_TRUE(sgd.step(model, toy(2, 0, 0)));  // v = 2
  EXPECT_TRUE(sgd.step(model, toy(4, 0, 0)));  // v = 5
  EXPECT_EQ(flatten(model), (Vector<double>{{1 - 2 - 5, -2, 4}}));
}

TEST(Sgd, NesterovLooksAhead) {
  Toy model;
  Sgd sgd{model, {.learning_rate = 1, .momentum = 0.5, .nesterov = true}};
  EXPECT_TRUE(sgd.step(model, toy(2, 0, 0)));  // g + 0.5 v = 3
  EXPECT_TRUE(sgd.step(model, toy(4, 0, 0)));  // 4 + 2.5
  EXPECT_EQ(flatten(model), (Vector<double>{{1 - 3 - 6.5, -2, 4}}));
}

TEST(Sgd, WeightDecayIsApartFromTheGradient) {
  Toy model;
  Sgd sgd{model, {.learning_rate = 0.5, .momentum = 0.9, .weight_decay = 0.5}};
  EXPECT_TRUE(sgd.step(model, toy(0, 0, 0)));
  EXPECT_EQ(flatten(model), (Vector<double>{{0.75, -1.5, 3}}));
}

TEST(Sgd, FrozenParametersKeepTheirBits) {
  Toy model;
  Sgd sgd{model, {.learning_rate = 0.5, .weight_decay = 0.1}};
  sgd.frozen = {"weight"};
  EXPECT_TRUE(sgd.step(model, toy(2, 2, 2)));
  EXPECT_EQ(model.weight, Toy().weight);
  EXPECT_NE(model.bias, Toy().bias);
}

TEST(Sgd, AGradientThatIsNotFiniteChangesNothing) {
  for (const double value : {support::nan_of<double>, support::infinity_of<double>, -support::infinity_of<double>}) {
    Toy model, same_model;
    Sgd sgd{model, {.learning_rate = 1, .momentum = 0.5}}, same{model, {.learning_rate = 1, .momentum = 0.5}};
    EXPECT_FALSE(sgd.step(model, toy(1, value, 1)));
    EXPECT_FALSE(sgd.step(model, toy(1, 1, static_cast<float>(value))));
    EXPECT_TRUE(support::same_parameters(model, same_model));
    EXPECT_TRUE(sgd.step(model, toy(1, 1, 1)) && same.step(same_model, toy(1, 1, 1)));
    EXPECT_TRUE(support::same_parameters(model, same_model));
  }
}

TEST(Sgd, AStepThatClipsIsTheStepOfTheClippedGradient) {
  std::mt19937_64 rng(1);
  const Toy gradient{random_matrix<double>(5, 7, rng), random_matrix<float>(37, 1, rng)};
  const Toy start{random_matrix<double>(5, 7, rng), random_matrix<float>(37, 1, rng)};
  for (const bool nesterov : {false, true}) {
    Toy clipped = gradient, model = start, other = start;
    Sgd sgd{model, {.momentum = 0.9, .nesterov = nesterov, .clip_norm = 0.7}};
    Sgd plain{model, {.momentum = 0.9, .nesterov = nesterov}};
    const double norm = clip_global_norm(clipped, 0.7);
    for (int step = 0; step < 3; ++step) EXPECT_TRUE(sgd.step(model, gradient) && plain.step(other, clipped));
    EXPECT_EQ(sgd.gradient_norm(), norm);
    EXPECT_TRUE(support::same_parameters(model, other));
  }
}

TEST(Sgd, EntriesWhoseNormIsNotFiniteAreFine) {
  Toy model;
  Sgd sgd{model, {.learning_rate = 1e-308}};
  EXPECT_TRUE(sgd.step(model, toy(1.7e308, 1.7e308, 0)));
  EXPECT_EQ(sgd.gradient_norm(), support::infinity_of<double>);
  sgd.options.clip_norm = 1;
  EXPECT_FALSE(sgd.step(model, toy(1.7e308, 1.7e308, 0)));
}

TEST(Sgd, TheGradientIsSetToZeroByAStepThatIsMade) {
  Toy model, gradient = toy(1, 2, 3);
  Sgd sgd{model, {.zero_gradient = true}};
  sgd.frozen = {"weight"};
  EXPECT_TRUE(sgd.step(model, gradient));
  EXPECT_EQ(flatten(gradient), Vector<double>::Zero(3));
  expect_invalid([&] { (void)sgd.step(model, toy(1, 2, 3)); }, {"Sgd::step: options.zero_gradient"});
}

TEST(Sgd, TheGradientOfWhatIsFrozenNeitherScalesNorRefusesAStep) {
  for (const float frozen : {1000.0f, support::nan_of<float>}) {
    Toy model;
    Sgd sgd{model, {.learning_rate = 1, .clip_norm = 1}};
    sgd.frozen = {"bias"};
    EXPECT_TRUE(sgd.step(model, toy(0.5, 0.25, frozen)));
    EXPECT_EQ(flatten(model), (Vector<double>{{0.5, -2.25, 4}}));
  }
}

TEST(Sgd, TheVelocityIsSavedByName) {
  Toy model;
  Sgd sgd{model, {.momentum = 0.5}};
  EXPECT_TRUE(sgd.step(model, toy(1, 2, 3)));
  EXPECT_EQ(flatten(sgd), (Vector<double>{{1, 2, 3}}));
}

TEST(Sgd, AGradientOfOtherShapesIsRefused) {
  Toy model, wide{Matrix<double>::Zero(2, 2)}, wide_gradient = wide;
  Sgd sgd{model};
  expect_invalid([&] { (void)sgd.step(model, wide); }, {"gradient", "'weight' is 1 x 2", "2 x 2"});
  expect_invalid([&] { (void)sgd.step(wide, wide_gradient); }, {"the optimiser's model", "'weight' is 2 x 2", "1 x 2"});
}

TEST(Sgd, OptionsThatDoNotFitAreRefused) {
  const Toy model;
  expect_invalid([&] { Sgd(model, {.learning_rate = -1}); }, {"learning_rate is -1"});
  expect_invalid([&] { Sgd(model, {.learning_rate = support::infinity_of<double>}); }, {"learning_rate is inf"});
  expect_invalid([&] { Sgd(model, {.clip_norm = -1}); }, {"Sgd: clip_norm is -1"});
  expect_invalid([&] { Sgd(model, {.momentum = 1}); }, {"momentum is 1"});
  expect_invalid([&] { Sgd(model, {.weight_decay = support::nan_of<double>}); }, {"weight_decay is"});
}

}  // namespace sgd_test
}  // namespace moe
