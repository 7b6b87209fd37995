#include "moe/objective/row_overlaps.hpp"

#include <gtest/gtest.h>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace row_overlaps_test {

TEST(RowOverlaps, ExcessIsTheProductLessTheUnitMatrix) {
  const Matrix<double> row_ED{{3, 4}, {2, 0}};
  Matrix<double> excess(2, 2);
  detail::for_each_excess(row_ED, [&](Index e, Index f, double entry) { excess(e, f) = entry; });
  EXPECT_EQ(excess, (Matrix<double>{{24, 6}, {6, 3}}));
}

TEST(RowOverlaps, TheGradientSumsSlopesTimesRows) {
  const auto row_ED = support::random_matrix<double>(300, 5, 1);
  Matrix<double> got = Matrix<double>::Ones(300, 5);
  detail::add_excess_gradient(
      row_ED, [](double excess) { return 3 * excess; }, got);
  const Matrix<double> excess = row_ED * row_ED.transpose() - Matrix<double>::Identity(300, 300);
  EXPECT_LE((got - Matrix<double>::Ones(300, 5) - 3 * excess * row_ED).cwiseAbs().maxCoeff(), 1e-9);
}

TEST(RowOverlaps, DirectionsHaveLengthOneAndPassNothingAlong) {
  const detail::Directions<double> direction("a loss", Matrix<double>{{3, 4}, {2, 0}});
  EXPECT_EQ(direction.row_ED, (Matrix<double>{{.6, .8}, {1, 0}}));
  EXPECT_EQ(direction.length_E, (Vector<double>{{5, 2}}));
  Matrix<double> got(2, 2);
  direction.backward(Matrix<double>{{.6, .8}, {7, 2}}, [&](Index e, Index i, double slope) { got(e, i) = slope; });
  EXPECT_LE((got - Matrix<double>{{0, 0}, {0, 1}}).cwiseAbs().maxCoeff(), 1e-15);
  support::expect_invalid(
      [] {
        detail::Directions<double>("a loss", Matrix<double>{{0, 0}});
      },
      {"a loss: the row of expert 0 is 0"});
}

}  // namespace row_overlaps_test
}  // namespace moe
