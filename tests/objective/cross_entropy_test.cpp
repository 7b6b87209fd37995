#include "moe/objective/cross_entropy.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <type_traits>
#include <vector>

#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace cross_entropy_test {

using support::expect_invalid;

const Matrix<double> even{{0, 0}};

// ln p = ln (3/4, 1/4) and ln (1/2, 1/2); the third row has no label.
TEST(CrossEntropyLoss, IsTheMeanOverTheLabelledRows) {
  const Matrix<double> logits{{std::log(3.0), 0}, {0, 0}, {5, 7}};
  const std::vector<Index> labels{1, 0, -1};
  EXPECT_NEAR(CrossEntropyLoss{}.value<double>(logits, labels), (std::log(4.0) + std::log(2.0)) / 2, 1e-15);
  Matrix<double> dlogits = Matrix<double>::Zero(3, 2);
  CrossEntropyLoss{}.backward<double>(logits, labels, 2, dlogits);
  EXPECT_TRUE(dlogits.isApprox(Matrix<double>{{.75, -.75}, {-.5, .5}, {0, 0}}, 1e-15)) << dlogits;
}

TEST(CrossEntropyLoss, HugeLogitsAndNoLabels) {
  EXPECT_EQ(CrossEntropyLoss{}.value<double>(Matrix<double>{{-1000, 1000}}, std::vector<Index>{0}), 2000);
  EXPECT_EQ(CrossEntropyLoss{}.value<double>(even, std::vector<Index>{-1}), 0);
  expect_invalid([] { CrossEntropyLoss{}.value<double>(even, std::vector<Index>{2}); }, {"row 0", "label 2 of 2"});
  expect_invalid([] { CrossEntropyLoss{}.value<double>(even, std::vector<Index>{}); }, {"0 labels for 1"});
}

TEST(CrossEntropyLoss, TheGradientAgreesWithDifferences) {
  Matrix<double> x{{0.3, -1.2, 2.0}, {1.5, 0.2, -0.4}, {7, 8, 9}};
  const std::vector<Index> labels{2, 0, -1};
  Matrix<double> dx = Matrix<double>::Zero(3, 3);
  CrossEntropyLoss{}.backward(x, labels, 3, dx);
  testing::GradientReport report;
  testing::check_tensor(
      "logits", x.data(), dx.data(), x.size(), [&] { return 3 * CrossEntropyLoss{}.value(x, labels); }, {}, report);
  EXPECT_TRUE(report) << report;
}

TEST(CrossEntropyLoss, AGradientOfAnotherShapeIsRefused) {
  Matrix<double> wide = Matrix<double>::Zero(1, 3);
  expect_invalid([&] { CrossEntropyLoss{}.backward(even, std::vector<Index>{0}, 1, wide); }, {"1 x 3", "1 x 2"});
}

/// Matrices, blocks and expressions tell the scalar type by themselves.
template <class S>
void expect_rows_tell_their_scalar() {
  const Matrix<S> y = support::random_matrix<S>(4, 6, 1);
  const std::vector<Index> labels{1, 0, -1, 2};
  const CrossEntropyLoss loss;
  const auto value = loss.value(y, labels);
  static_assert(std::is_same_v<decltype(value), const S>);
  EXPECT_EQ(value, loss.template value<S>(y, labels));
  EXPECT_EQ(value, loss.value(S(2) * y - y, labels));
  EXPECT_EQ(value, loss.value(ConstMatrixRef<S>(y), labels));
  Matrix<S> dy = Matrix<S>::Zero(4, 6), wide = Matrix<S>::Zero(4, 8);
  loss.backward(y, labels, 2, dy);
  loss.backward(y.middleCols(0, 6), labels, 2.0, wide.middleCols(1, 6));
  EXPECT_EQ(wide.middleCols(1, 6), dy);
}

TEST(CrossEntropyLoss, NoScalarTypeNeedsToBeWritten) {
  expect_rows_tell_their_scalar<float>();
  expect_rows_tell_their_scalar<double>();
}

}  // namespace cross_entropy_test
}  // namespace moe
