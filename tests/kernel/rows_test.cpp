#include "moe/kernel/rows.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/matrices.hpp"

namespace moe {
namespace rows_test {

using support::random_matrix;

template <class S>
struct Rows : testing::Test {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(Rows, Scalars);

const std::vector<Index> list{3, 0, 3, 4};

TYPED_TEST(Rows, AreCopiedTimesAScaleInTheOrderOfTheList) {
  using S = TypeParam;
  for (const Index width : {1, 15, 16, 37}) {
    const Matrix<S> wide = random_matrix<S>(5, width + 3, 1);
    const detail::ListedRows<S> rows(wide.middleCols(2, width), list);
    for (std::size_t i = 0; i < list.size(); ++i) {
      Vector<S> to = Vector<S>::Constant(width + 1, S(7));
      rows.copy(static_cast<Index>(i), S(0.5), to.data());
      EXPECT_EQ(to.head(width), S(0.5) * wide.row(list[i]).segment(2, width).transpose());
      EXPECT_EQ(to(width), 7);
    }
  }
}

TYPED_TEST(Rows, AreAddedTimesAScale) {
  using S = TypeParam;
  for (const Index width : {1, 15, 16, 37}) {
    const Matrix<S> some = random_matrix<S>(5, width, 1);
    const detail::ListedRows<S> rows(some, list);
    Vector<S> to = Vector<S>::Constant(width + 1, S(7));
    rows.add(1, S(2), to.data());
    rows.add(3, S(-1), to.data());
    const Vector<S> wanted = ((some.row(0) * S(2) - some.row(4)).array() + S(7)).transpose();
    EXPECT_TRUE(to.head(width).isApprox(wanted));
    EXPECT_EQ(to(width), 7);
  }
}

TYPED_TEST(Rows, OfNoWidthAreNothing) {
  using S = TypeParam;
  const Matrix<S> none(5, 0);
  S to = S(7);
  detail::ListedRows<S>(none, list).copy(0, S(1), &to);
  detail::ListedRows<S>(none, list).add(3, S(1), &to);
  EXPECT_EQ(to, 7);
}

}  // namespace rows_test
}  // namespace moe
