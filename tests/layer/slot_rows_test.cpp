#include "moe/layer/slot_rows.hpp"

#include <gtest/gtest.h>

namespace moe {
namespace slot_rows_test {

TEST(SlotRows, AreViewsOfTheRows) {
  Matrix<float> rows = Matrix<float>::Zero(4, 3);
  MatrixRef<float> left = rows.leftCols(2);
  detail::rows_at<float>(left, 1, 2).setOnes();
  EXPECT_EQ(rows, (Matrix<float>{{0, 0, 0}, {1, 1, 0}, {1, 1, 0}, {0, 0, 0}}));
  const ConstMatrixRef<float> read = rows;
  EXPECT_EQ(detail::rows_at<float>(read, 2, 2), rows.bottomRows(2));
  EXPECT_EQ(detail::rows_at<float>(read, 2, 2).data(), &rows(2, 0));
  EXPECT_EQ(detail::rows_at<float>(read, 4, 0).rows(), 0);
}

TEST(SlotRows, AreDispatchedFromTheTokens) {
  const Matrix<float> tokens{{1, 2}, {3, 4}};
  const ConstMatrixRef<float> x_TD = tokens;
  Plan<float> plan;
  plan.token = {1, 0, 1};
  plan.weight = {2, 2, 2};
  const detail::DispatchedTokens<float> dispatched{x_TD, plan};
  Matrix<float> rows(2, 2);
  dispatched.inputs()(1, rows);
  EXPECT_EQ(rows, (Matrix<float>{{1, 2}, {3, 4}}));
  detail::SlotInputs<float>{}(0, rows);  // there already
  EXPECT_EQ(rows, (Matrix<float>{{1, 2}, {3, 4}}));
}

}  // namespace slot_rows_test
}  // namespace moe
