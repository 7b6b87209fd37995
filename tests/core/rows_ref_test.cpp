#include "moe/core/rows_ref.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace moe {
namespace rows_ref_test {

TEST(RowsRef, RowsSideBySideInMemoryDoNotOverlap) {
  Matrix<float> m(4, 3);
  EXPECT_FALSE(detail::overlap<float>(m.topRows(2), m.bottomRows(2)));
  EXPECT_FALSE(detail::overlap<float>(m.bottomRows(2), m.topRows(2)));
}

TEST(RowsRef, ViewsWithACommonRowOverlap) {
  Matrix<float> m(4, 3);
  EXPECT_TRUE(detail::overlap<float>(m, m));
  EXPECT_TRUE(detail::overlap<float>(m.topRows(3), m.bottomRows(2)));
  EXPECT_TRUE(detail::overlap<float>(m, m.block(1, 1, 2, 2)));
}

TEST(RowsRef, AnEmptyViewOverlapsNothing) {
  Matrix<float> m(4, 3);
  EXPECT_FALSE(detail::overlap<float>(m, m.topRows(0)));
  EXPECT_FALSE(detail::overlap<float>(Matrix<float>(0, 3), m));
}

TEST(RowsRef, OverlapCountsTheOuterStride) {
  Matrix<float> m(4, 6);
  // Rows 0 and 1 of the left half end before row 2 begins.
  EXPECT_FALSE(detail::overlap<float>(m.topLeftCorner(2, 3), m.bottomRows(2)));
  EXPECT_TRUE(detail::overlap<float>(m.topLeftCorner(3, 3), m.bottomRows(2)));
}

TEST(RowsRef, HalvesSideBySideDoNotOverlap) {
  Matrix<float> m(4, 6);
  EXPECT_FALSE(detail::overlap<float>(m.leftCols(3), m.rightCols(3)));
  EXPECT_FALSE(detail::overlap<float>(m.rightCols(3), m.leftCols(3)));
  EXPECT_TRUE(detail::overlap<float>(m.leftCols(4), m.rightCols(3)));
}

/// Any two blocks and every second row of one matrix, against its entries one by one.
TEST(RowsRef, ViewsOverlapIfTheyHaveAnEntryInCommon) {
  constexpr Index rows = 4, columns = 3;
  Matrix<float> m(rows, columns);
  std::vector<ConstMatrixRef<float>> views;
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < columns; ++j)
      for (Index r = 0; i + r <= rows; ++r)
        for (Index c = 0; j + c <= columns; ++c) {
          views.emplace_back(m.block(i, j, r, c));
          if (r > 0)
            views.emplace_back(Eigen::Map<Matrix<float>, 0, Eigen::OuterStride<>>(&m(i, j), (r + 1) / 2, c,
                                                                                  Eigen::OuterStride<>(2 * columns)));
        }
  for (const auto& a : views)
    for (const auto& b : views) {
      std::set<const float*> entries;
      for (Index i = 0; i < a.rows(); ++i)
        for (Index j = 0; j < a.cols(); ++j) entries.insert(&a.coeffRef(i, j));
      bool common = false;
      for (Index i = 0; i < b.rows(); ++i)
        for (Index j = 0; j < b.cols(); ++j) common = common || entries.contains(&b.coeffRef(i, j));
      ASSERT_EQ(detail::overlap<float>(a, b), common);
    }
}

}  // namespace rows_ref_test
}  // namespace moe
