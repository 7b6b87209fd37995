#include "moe/objective/router_orthogonality.hpp"

#include <gtest/gtest.h>

#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace router_orthogonality_test {

using support::expect_invalid;

const Matrix<double> golden_ED{{1, 0, 1}, {0, 2, 0}, {1, 1, 0}};

TEST(RouterOrthogonality, GoldenNumbers) {
  EXPECT_NEAR(RouterOrthogonalityLoss{}.value(golden_ED), 1.5, 1e-14);
  EXPECT_NEAR(RouterOrthogonalityLoss{.mean_of_pairs = true}.value(golden_ED), 0.25, 1e-15);
  EXPECT_NEAR(SimilarityBalanceLoss{}.value(golden_ED), 11, 1e-14);
}

TEST(RouterOrthogonality, IsZeroForOrthogonalRows) {
  const Matrix<double> orthogonal{{2, 0}, {0, 4}}, orthonormal = Matrix<double>::Identity(3, 4);
  EXPECT_EQ(RouterOrthogonalityLoss{}.value(orthogonal), 0);
  EXPECT_EQ(SimilarityBalanceLoss{}.value(orthonormal), 0);
  Matrix<double> gradient = Matrix<double>::Zero(3, 4);
  SimilarityBalanceLoss{}.backward(orthonormal, 1, gradient);
  EXPECT_EQ(gradient, (Matrix<double>::Zero(3, 4)));
}

TEST(RouterOrthogonality, OfOneExpertThereIsNoPair) {
  EXPECT_EQ((RouterOrthogonalityLoss{.mean_of_pairs = true}.value(Matrix<double>{{0, 2, 0}})), 0);
}

template <class Loss>
void expect_exact(const Loss& loss) {
  Matrix<double> w = support::random_matrix<double>(5, 4, 1), dw = Matrix<double>::Zero(5, 4);
  loss.backward(w, 1, dw);
  testing::GradientReport report;
  testing::check_tensor(
      "weight", w.data(), dw.data(), w.size(), [&] { return loss.value(w); }, {}, report);
  EXPECT_TRUE(report);
}

TEST(RouterOrthogonality, GradientsAreExact) {
  expect_exact(RouterOrthogonalityLoss{});
  expect_exact(RouterOrthogonalityLoss{.mean_of_pairs = true});
  expect_exact(SimilarityBalanceLoss{});
}

TEST(RouterOrthogonality, WhatDoesNotFitIsRefused) {
  Matrix<double> gradient = Matrix<double>::Zero(3, 2);
  expect_invalid([&] { RouterOrthogonalityLoss{}.backward(golden_ED, 1, gradient); }, {"3 x 2", "3 x 3"});
  expect_invalid([&] { SimilarityBalanceLoss{}.backward(golden_ED, 1, gradient); }, {"3 x 2", "3 x 3"});
  expect_invalid([&] { RouterOrthogonalityLoss{}.value(Matrix<double>{{1, 0}, {0, 0}}); }, {"expert 1 is 0"});
}

}  // namespace router_orthogonality_test
}  // namespace moe
