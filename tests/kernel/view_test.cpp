#include "moe/kernel/view.hpp"

#include <gtest/gtest.h>

#include <type_traits>

#include "support/matrices.hpp"

namespace moe {
namespace view_test {

TEST(View, SeesWhatEigenSees) {
  const Matrix<float> m = support::random_matrix<float>(5, 7, 1);
  const detail::View<const float> all = m, part = m.block(1, 2, 3, 4);
  EXPECT_EQ(all.data(), m.data());
  EXPECT_EQ(part.rows(), 3);
  EXPECT_EQ(part.cols(), 4);
  for (Index i = 0; i < 3; ++i)
    for (Index j = 0; j < 4; ++j) {
      EXPECT_EQ(part(i, j), m(1 + i, 2 + j));
      EXPECT_EQ(all.block(1, 2, 3, 4)(i, j), m(1 + i, 2 + j));
    }
}

TEST(View, WritesThroughReferencesAndIsReadAsAConstantOne) {
  Matrix<double> m = Matrix<double>::Zero(2, 3);
  MatrixRef<double> right = m.rightCols(2);
  const detail::View<double> view = right;
  view(1, 0) = 5;
  EXPECT_EQ(m(1, 1), 5);
  const detail::View<const double> read = view;
  EXPECT_EQ(read.row(1)[0], 5);
}

TEST(View, IsOfRowsOnly) {
  using Columns = Eigen::MatrixXf;
  EXPECT_FALSE((std::is_constructible_v<detail::View<const float>, const Columns&>));
}

}  // namespace view_test
}  // namespace moe
