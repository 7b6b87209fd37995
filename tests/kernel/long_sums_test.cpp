#include "moe/kernel/long_sums.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <type_traits>

#include "moe/kernel/row_softmax.hpp"
#include "support/matrices.hpp"

namespace moe::detail {
namespace long_sums_test {

static_assert(std::is_same_v<Wide<float>, double> && std::is_same_v<Wide<double>, double> &&
              std::is_same_v<Wide<long double>, long double>);

TEST(LongSums, ColumnSumsAreAddedWhateverTheNumberOfRowsAndColumns) {
  for (const Index rows : {0, 1, 255, 256, 257, 600})
    for (const Index columns : {1, 16, 256, 257, 515}) {
      const Matrix<double> wide = support::random_matrix<double>(rows, columns + 3, 1);
      const Matrix<double> all = wide.middleCols(2, columns);
      Vector<double> sums = Vector<double>::Ones(columns);
      add_column_sums<double>(wide.middleCols(2, columns), sums.data());
      EXPECT_TRUE(sums.isApprox(Vector<double>(Vector<double>::Ones(columns) + all.colwise().sum().transpose()), 1e-13))
          << rows << " x " << columns;
    }
}

TEST(LongSums, RowsOfOneRunAreAddedUpOneAfterTheOther) {
  const Matrix<float> all = support::random_matrix<float>(longest_run, 20, 1);
  Vector<float> sums = Vector<float>::Zero(20), expected = sums;
  add_column_sums<float>(all, sums.data());
  for (Index i = 0; i < all.rows(); ++i) expected += all.row(i).transpose();
  EXPECT_TRUE(support::same_bits(sums, expected));
}

TEST(LongSums, AMillionEqualTermsAreExact) {
  constexpr Index many = 1 << 20;
  const Vector<float> terms = Vector<float>::Constant(many, 0.1F), ones = Vector<float>::Ones(many);
  const double expected = static_cast<double>(0.1F) * many;
  const auto expect_exact = [&](const char* what, double sum) {
    EXPECT_LE(std::abs(sum - expected) / expected, 6e-6) << what;
  };
  float sum = 0;
  add_column_sums<float>(View<const float>(terms.data(), many, 1, 1), &sum);
  expect_exact("column", static_cast<double>(sum));
  double wide = 0;
  for (Index i = 0; i < many; ++i) add_wide(&terms(i), 1, &wide);
  expect_exact("wide", wide);
  expect_exact("row", static_cast<double>(sum_row(terms.data(), many)));
  expect_exact("product", static_cast<double>(dot_rows(terms.data(), ones.data(), many)));
}

}  // namespace long_sums_test
}  // namespace moe::detail
