#include "moe/core/weights.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "moe/core/parameters.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace weights_test {

Matrix<float> numbered(Index rows, Index columns) {
  return Matrix<float>::NullaryExpr(rows, columns, [&](Index i, Index j) { return static_cast<float>(100 * i + j); });
}

TEST(Weights, HideTheirOrder) {
  for (const Index rows : {0, 1, 15, 16, 17, 40}) {
    const Matrix<float> plain = numbered(rows, 3);
    const Weights<float> weights = plain;
    EXPECT_EQ(weights.rows(), rows);
    EXPECT_EQ(weights.cols(), 3);
    EXPECT_EQ(weights.size(), 3 * rows);
    EXPECT_EQ(weights.matrix(), plain);
  }
}

TEST(Weights, LieInPanelsOfSixteenOutputs) {
  const Weights<float> weights = numbered(18, 2);
  ASSERT_EQ(weights.panels(), 2);
  EXPECT_EQ(weights.width_of_panel(0), 16);
  EXPECT_EQ(weights.width_of_panel(1), 2);
  EXPECT_EQ(weights.panel(0)[5], 500);       // input 0, output 5
  EXPECT_EQ(weights.panel(0)[16 + 5], 501);  // input 1, output 5
  EXPECT_EQ(weights.panel(1)[1], 1700);      // the narrow panel: input 0, output 17
  EXPECT_EQ(weights.panel(1)[2], 1601);      // input 1, output 16
}

TEST(Weights, AreWrittenEntryByEntry) {
  Weights<float> weights(20, 4);
  weights.setZero();
  weights(17, 3) = 5;
  Matrix<float> expected = Matrix<float>::Zero(20, 4);
  expected(17, 3) = 5;
  EXPECT_EQ(weights.matrix(), expected);
  EXPECT_EQ(weights.squaredNorm(), 25);
}

TEST(Weights, TakeAnyExpression) {
  const Matrix<float> plain = numbered(17, 17);
  EXPECT_EQ(Weights<float>(plain.transpose()).matrix(), plain.transpose());
  EXPECT_EQ(Weights<float>(2 * plain).matrix(), 2 * plain);
}

TEST(Weights, AddAndCompare) {
  Weights<float> a = numbered(17, 2);
  const Weights<float> b = a;
  a += b;
  EXPECT_EQ(a.matrix(), 2 * numbered(17, 2));
  EXPECT_TRUE(b == Weights<float>(numbered(17, 2)));
  EXPECT_FALSE(a == b);
  EXPECT_FALSE(Weights<float>(numbered(4, 6)) == Weights<float>(numbered(6, 4)));
}

TEST(Weights, AreEmptyOnceMovedFrom) {
  Weights<float> a = numbered(17, 2);
  const Weights<float> b = std::move(a);
  EXPECT_EQ(a.size(), a.rows() * a.cols());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(b.matrix(), numbered(17, 2));
}

}  // namespace weights_test
}  // namespace moe
