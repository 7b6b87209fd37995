#include "moe/objective/output_orthogonality.hpp"

#include <gtest/gtest.h>

#include <random>

#include "moe/expert/make_experts.hpp"
#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace output_orthogonality_test {

using support::expect_invalid;

struct OutputOrthogonality : ::testing::Test {
  std::mt19937_64 rng{3};
  Layer<Router<double>, TopK, Linear<double>> layer{Router<double>::random(4, 5, rng),
                                                    TopK{.k = 3},
                                                    make_experts<Linear<double>>(4, 5, 3, rng),
                                                    {},
                                                    Capacity::factor(1)};
  Matrix<double> x_TD = support::random_matrix<double>(9, 5, 1);
  decltype(layer)::Tape tape;

  OutputOrthogonality() { layer.forward(x_TD, tape); }
};

TEST_F(OutputOrthogonality, IsTheSumOfSquaredCosines) {
  double expected = 0;
  for (Index i = 0; i < tape.plan.slots(); ++i)
    for (Index j = 0; j < i; ++j)
      if (tape.plan.token[static_cast<std::size_t>(i)] == tape.plan.token[static_cast<std::size_t>(j)]) {
        const auto a = tape.y_NO.row(i), b = tape.y_NO.row(j);
        expected += a.dot(b) * a.dot(b) / a.squaredNorm() / b.squaredNorm();
      }
  EXPECT_NEAR(OutputOrthogonalityLoss{}.value(tape.plan, tape.y_NO), expected, 1e-12);
}

TEST_F(OutputOrthogonality, HasItsGradient) {
  Matrix<double> y_NO = tape.y_NO, dy_NO = Matrix<double>::Zero(y_NO.rows(), y_NO.cols());
  OutputOrthogonalityLoss{}.backward(tape.plan, y_NO, 1, dy_NO);
  testing::GradientReport report;
  testing::check_tensor(
      "outputs", y_NO.data(), dy_NO.data(), y_NO.size(),
      [&] { return OutputOrthogonalityLoss{}.value(tape.plan, y_NO); }, {}, report);
  EXPECT_TRUE(report);
}

TEST_F(OutputOrthogonality, ScalesAndAdds) {
  const Matrix<double> zeros = Matrix<double>::Zero(tape.y_NO.rows(), tape.y_NO.cols());
  Matrix<double> once = zeros, again = zeros.array() + 5;
  OutputOrthogonalityLoss{}.backward(tape.plan, tape.y_NO, 1, once);
  OutputOrthogonalityLoss{}.backward(tape.plan, tape.y_NO, -3, again);
  EXPECT_LE((again.array() - 5 + 3 * once.array()).abs().maxCoeff(), 1e-14);
}

TEST_F(OutputOrthogonality, AnOutputOfZerosIsOrthogonalToAll) {
  Matrix<double> y_NO = tape.y_NO, dy_NO = Matrix<double>::Zero(y_NO.rows(), y_NO.cols());
  y_NO.setZero();
  OutputOrthogonalityLoss{}.backward(tape.plan, y_NO, 1, dy_NO);
  EXPECT_EQ(OutputOrthogonalityLoss{}.value(tape.plan, y_NO), 0);
  EXPECT_TRUE(dy_NO.isZero(0));
}

TEST_F(OutputOrthogonality, WhatDoesNotFitIsRefused) {
  Matrix<double> few = tape.y_NO.topRows(2), dy_NO = tape.y_NO;
  expect_invalid([&] { OutputOrthogonalityLoss{}.value(tape.plan, few); }, {"2 rows"});
  expect_invalid([&] { OutputOrthogonalityLoss{}.backward(tape.plan, tape.y_NO, 1, few); }, {"2 x 3"});
  expect_invalid([&] { OutputOrthogonalityLoss{}.backward(tape.plan, few, 1, dy_NO); }, {"2 rows"});
}

}  // namespace output_orthogonality_test
}  // namespace moe
