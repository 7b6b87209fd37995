#include "moe/objective/expert_diversity.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace expert_diversity_test {

using support::expect_invalid;

// Lengths 5 and 2; the directions' product is 3/5, so the overlap matrix has 3/5 twice and zeros.
const Matrix<double> weight_ED{{3, 4}, {2, 0}};

TEST(ExpertDiversityLoss, IsTheOverlapOfDirectionsAndTheMeanLength) {
  EXPECT_NEAR(ExpertDiversityLoss{}.value(weight_ED), 0.6 * std::sqrt(2.0) + 3.5, 1e-15);
  EXPECT_NEAR(ExpertDiversityLoss{.squared = true}.value(weight_ED), 2 * 0.36 + 3.5, 1e-15);
}

TEST(ExpertDiversityLoss, OrthogonalRowsOnlyPayForTheirLength) {
  const Matrix<double> orthogonal{{2, 0}, {0, 4}};
  EXPECT_EQ(ExpertDiversityLoss{}.value(orthogonal), 3);
  Matrix<double> gradient = Matrix<double>::Zero(2, 2);
  ExpertDiversityLoss{}.backward(orthogonal, 4, gradient);
  EXPECT_EQ(gradient, (Matrix<double>{{2, 0}, {0, 2}}));  // 4 / E times the direction
}

TEST(ExpertDiversityLoss, TheGradientIsAddedTimesTheScale) {
  // Squared: d 2 (u1 . u2)^2 = 4 (u1 . u2) du; along w1 the part of u2 across u1, (1, 0) - 3/5 (3/5, 4/5), over 5.
  Matrix<double> gradient = Matrix<double>::Constant(2, 2, 100);
  ExpertDiversityLoss{.squared = true}.backward(weight_ED, 10, gradient);
  const Matrix<double> expected{{100 + 10 * (2.4 * 0.64 / 5 + 0.3), 100 + 10 * (2.4 * -0.48 / 5 + 0.4)},
                                {100 + 10 * 0.5, 100 + 10 * (2.4 * 0.8 / 2)}};
  EXPECT_TRUE(gradient.isApprox(expected, 1e-14)) << gradient << "\n\n" << expected;
}

TEST(ExpertDiversityLoss, ARowWithoutDirectionIsRefused) {
  expect_invalid([] { ExpertDiversityLoss{}.value(Matrix<double>{{1, 0}, {0, 0}}); }, {"expert 1 is 0"});
}

TEST(ExpertDiversityLoss, AGradientOfAnotherShapeIsRefused) {
  Matrix<double> gradient = Matrix<double>::Zero(3, 2);
  expect_invalid([&] { ExpertDiversityLoss{}.backward(weight_ED, 1, gradient); }, {"3 x 2", "2 x 2"});
}

}  // namespace expert_diversity_test
}  // namespace moe
