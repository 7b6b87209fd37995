#include "moe/loss/importance.hpp"

#include <gtest/gtest.h>

#include "loss/decisions.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace importance_test {

using Source = ImportanceLoss::Source;

// Weights: 1 for expert 0, 3 for expert 1; probabilities: 0.5 and 1.5.
Routing<double> example() {
  return loss::decision(Matrix<double>{{0.25, 0.75}, {0.25, 0.75}}, {{0, 1, 2}, {1, 0, 1}, {1, 1, 1}});
}

TEST(ImportanceLoss, IsTheSquaredVariationOfTheSummedWeights) {
  EXPECT_EQ((ImportanceLoss{.epsilon = 0}.value(example())), 0.25);
  EXPECT_EQ((ImportanceLoss{.variance = Variance::unbiased, .epsilon = 0}.value(example())), 0.5);
}

TEST(ImportanceLoss, EveryChoicesWeightGetsItsExpertsGradient) {
  const auto drouting = loss::gradient_of(ImportanceLoss{.epsilon = 0}, example(), 8);
  EXPECT_NEAR(drouting.choices[0].weight, 1, 1e-14);
  EXPECT_NEAR(drouting.choices[1].weight, -3, 1e-14);
  EXPECT_NEAR(drouting.choices[2].weight, 1, 1e-14);
}

TEST(ImportanceLoss, OfCleanProbabilitiesSumsThemOverTokens) {
  EXPECT_NEAR((ImportanceLoss{.source = Source::clean_probabilities, .epsilon = 0}.value(example())), 0.25, 1e-15);
}

TEST(ImportanceLoss, OfCleanProbabilitiesTeachesTheCleanLogits) {
  // dimportance = (-0.375, 0.125) * 2 since the sums are half of (1, 3); J of p = (1/4, 3/4): 3/16 (d0 - d1) (1, -1).
  const auto drouting =
      loss::gradient_of(ImportanceLoss{.source = Source::clean_probabilities, .epsilon = 0}, example());
  EXPECT_NEAR(drouting.logits_TE(0, 0), -3.0 / 16, 1e-15);
  EXPECT_NEAR(drouting.logits_TE(1, 1), 3.0 / 16, 1e-15);
}

TEST(ImportanceLoss, OfCleanProbabilitiesIgnoresTheNoise) {
  Routing<double> routing = example();
  routing.noise.drawn = true;
  routing.noise.logits_TE = Matrix<double>{{9, 0}, {9, 0}};
  routing.probabilities_TE.setConstant(0.5);
  EXPECT_NEAR((ImportanceLoss{.source = Source::clean_probabilities, .epsilon = 0}.value(routing)), 0.25, 1e-15);
}

TEST(ImportanceLoss, PaddingDoesNotCount) {
  Routing<double> routing = example();
  routing.logits_TE.row(1).setConstant(support::nan_of<double>);
  loss::mark_as_padding(routing, 1);
  // (0.25, 0.75): mean 1/2, variance 1/16.
  EXPECT_NEAR((ImportanceLoss{.source = Source::clean_probabilities, .epsilon = 0}.value(routing)), 0.25, 1e-15);
}

TEST(ImportanceLoss, OfNothingIsZero) {
  const auto empty = loss::decision(Matrix<double>(0, 3), {});
  for (const Source source : {Source::weights, Source::clean_probabilities})
    for (const double epsilon : {0.0, 1e-10}) {
      const ImportanceLoss loss{.source = source, .epsilon = epsilon};
      EXPECT_EQ(loss.value(empty), 0);
      EXPECT_EQ(loss::gradient_of(loss, empty).logits_TE.size(), 0);
    }
}

}  // namespace importance_test
}  // namespace moe
