#include "moe/core/core.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <vector>

#include "support/expect_invalid.hpp"

namespace moe {
namespace core_test {

using support::expect_invalid;

TEST(Core, AMatrixIsRowMajor) {
  Matrix<int> m(2, 3);
  m << 1, 2, 3, 4, 5, 6;
  EXPECT_EQ(m.data()[1], 2);
  EXPECT_EQ(m.data()[3], 4);
}

TEST(Core, RequireLetsATrueConditionPass) { EXPECT_NO_THROW(detail::require(true, "nothing ", 1)); }

TEST(Core, RequireThrowsTextAndNumbersInOrder) {
  const std::string text = "rows";
  expect_invalid([&] { detail::require(false, Index{-3}, " ", text, ", ", 2u, " wanted"); },
                 {"moe: -3 rows, 2 wanted"});
}

template <class S>
void expect_kinds_of_numbers() {
  using Limits = std::numeric_limits<S>;
  for (const S finite : {S(0), -S(0), S(1), Limits::lowest(), (Limits::max)(), Limits::denorm_min()}) {
    EXPECT_TRUE(detail::has_finite_bits(finite));
    EXPECT_FALSE(detail::has_nan_bits(finite));
  }
  for (const S infinite : {Limits::infinity(), -Limits::infinity()}) {
    EXPECT_FALSE(detail::has_finite_bits(infinite));
    EXPECT_FALSE(detail::has_nan_bits(infinite));
  }
  for (const S no_number : {Limits::quiet_NaN(), -Limits::quiet_NaN()}) {
    EXPECT_FALSE(detail::has_finite_bits(no_number));
    EXPECT_TRUE(detail::has_nan_bits(no_number));
  }
}

TEST(Core, NumbersAreToldByTheirBits) {
  expect_kinds_of_numbers<float>();
  expect_kinds_of_numbers<double>();
  expect_kinds_of_numbers<long double>();
}

TEST(Core, RowsSideBySideInMemoryDoNotOverlap) {
  Matrix<float> m(4, 3);
  EXPECT_FALSE(detail::overlap<float>(m.topRows(2), m.bottomRows(2)));
  EXPECT_FALSE(detail::overlap<float>(m.bottomRows(2), m.topRows(2)));
}

TEST(Core, ViewsWithACommonRowOverlap) {
  Matrix<float> m(4, 3);
  EXPECT_TRUE(detail::overlap<float>(m, m));
  EXPECT_TRUE(detail::overlap<float>(m.topRows(3), m.bottomRows(2)));
  EXPECT_TRUE(detail::overlap<float>(m, m.block(1, 1, 2, 2)));
}

TEST(Core, AnEmptyViewOverlapsNothing) {
  Matrix<float> m(4, 3);
  EXPECT_FALSE(detail::overlap<float>(m, m.topRows(0)));
  EXPECT_FALSE(detail::overlap<float>(Matrix<float>(0, 3), m));
}

TEST(Core, OverlapCountsTheOuterStride) {
  Matrix<float> m(4, 6);
  // Rows 0 and 1 of the left half end before row 2 begins.
  EXPECT_FALSE(detail::overlap<float>(m.topLeftCorner(2, 3), m.bottomRows(2)));
  EXPECT_TRUE(detail::overlap<float>(m.topLeftCorner(3, 3), m.bottomRows(2)));
}

TEST(Core, HalvesSideBySideDoNotOverlap) {
  Matrix<float> m(4, 6);
  EXPECT_FALSE(detail::overlap<float>(m.leftCols(3), m.rightCols(3)));
  EXPECT_FALSE(detail::overlap<float>(m.rightCols(3), m.leftCols(3)));
  EXPECT_TRUE(detail::overlap<float>(m.leftCols(4), m.rightCols(3)));
}

/// Any two blocks and every second row of one matrix, against its entries one by one.
TEST(Core, ViewsOverlapIfTheyHaveAnEntryInCommon) {
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

}  // namespace core_test
}  // namespace moe
