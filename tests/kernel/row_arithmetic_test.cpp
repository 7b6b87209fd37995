#include "moe/kernel/row_arithmetic.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "moe/core/buffer.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace row_arithmetic_test {

TEST(RowArithmetic, RowsAreFoundInMatricesAndBlocks) {
  Matrix<double> matrix{{1, 2, 3}, {4, 5, 6}};
  EXPECT_EQ(detail::row_at(matrix, 1), matrix.data() + 3);
  EXPECT_EQ(*detail::row_at(matrix.rightCols(2), 1), 5);
  EXPECT_EQ(*detail::row_at(ConstMatrixRef<double>(matrix.rightCols(2)), 1), 5);
  Buffer<Matrix<float>> rows;
  rows.resize(2, 3);
  EXPECT_EQ(detail::row_at(rows, 1), rows.data() + 3);
  rows.resize(2, 0);
  EXPECT_EQ(detail::row_at(rows, 1), rows.data());
}

TEST(RowArithmetic, RowsAreScaledAndAdded) {
  std::vector<double> row{7, 7, 0};
  detail::set_scaled_row(2.0, row.data(), 3, row.data());
  EXPECT_EQ(row, (std::vector<double>{14, 14, 0}));
  const std::vector<double> other{1, 2, 3};
  detail::add_scaled_row(-1.0, other.data(), 3, row.data());
  EXPECT_EQ(row, (std::vector<double>{13, 12, -3}));
  detail::add_scaled_difference(2.0, row.data(), other.data(), 2, row.data());
  EXPECT_EQ(row, (std::vector<double>{37, 32, -3}));
  detail::blend_rows(0.5, other.data(), 2.0, row.data(), 2, row.data());
  EXPECT_EQ(row, (std::vector<double>{74.5, 65, -3}));
}

TEST(RowArithmetic, TheSquaredDistanceIsThatOfEveryLength) {
  const auto a = support::random_matrix<double>(2, 40, 1), b = support::random_matrix<double>(2, 40, 2);
  for (Index size = 0; size <= 40; ++size)
    EXPECT_NEAR(detail::squared_distance(a.data(), b.data(), size),
                (a.row(0).head(size) - b.row(0).head(size)).squaredNorm(), 1e-13)
        << size;
}

TEST(RowArithmetic, TheSquaredDistanceDoesNotDependOnThePlace) {
  const auto a = support::random_matrix<float>(1, 37, 1), b = support::random_matrix<float>(1, 37, 2);
  Matrix<float> moved_a = Matrix<float>::Zero(1, 40), moved_b = moved_a;
  for (Index place : {1, 2, 3}) {
    moved_a.middleCols(place, 37) = a;
    moved_b.middleCols(place, 37) = b;
    EXPECT_EQ(detail::squared_distance(moved_a.data() + place, moved_b.data() + place, 37),
              detail::squared_distance(a.data(), b.data(), 37));
  }
}

}  // namespace row_arithmetic_test
}  // namespace moe
