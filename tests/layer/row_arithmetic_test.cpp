#include "moe/layer/row_arithmetic.hpp"

#include <gtest/gtest.h>

namespace moe {
namespace row_arithmetic_test {

using detail::row_of;

TEST(RowArithmetic, OfRowsAnywhereInAMatrix) {
  Matrix<double> all(3, 4);
  all << 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12;
  MatrixRef<double> inner = all.middleCols(1, 2);
  const ConstMatrixRef<double> read = inner;
  EXPECT_EQ(row_of<double>(read, 2)[0], 10);
  detail::add_row<double>(2, row_of<double>(read, 0), row_of<double>(inner, 1), 2);
  EXPECT_EQ(all.row(1), (Matrix<double>{{5, 10, 13, 8}}));
  detail::scale_row_into<double>(3, row_of<double>(read, 2), row_of<double>(inner, 0), 2);
  EXPECT_EQ(all.row(0), (Matrix<double>{{1, 30, 33, 4}}));
  double* const last = row_of<double>(inner, 2);
  detail::blend_rows<double>(0.5, row_of<double>(read, 0), 2, last, last, 2);
  EXPECT_EQ(all.row(2), (Matrix<double>{{9, 35, 38.5, 12}}));
}

TEST(RowArithmetic, OfBuffers) {
  Buffer<Matrix<float>> rows;
  rows.resize(2, 3);
  EXPECT_EQ(row_of<float>(rows, 1), rows.data() + 3);
  rows.resize(2, 0);
  EXPECT_EQ(row_of<float>(rows, 1), rows.data());
}

}  // namespace row_arithmetic_test
}  // namespace moe
