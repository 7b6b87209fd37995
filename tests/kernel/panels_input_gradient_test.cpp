#include "moe/kernel/panels_input_gradient.hpp"

#include <gtest/gtest.h>

#include "kernel/panels_case.hpp"

namespace moe::detail {
namespace panels_input_gradient_test {

using namespace panels_case;

template <class S, class W>
Matrix<S> gradient(const Matrix<S>& dy, const W& w, Index columns_at_once) {
  Matrix<S> dx(dy.rows(), w.cols());
  support::poison(dx);
  for (Index first = 0; first < w.cols(); first += columns_at_once)
    panels_input_gradient<S>(dy, w, dx, first, columns_at_once, false);
  return dx;
}

template <class S>
class PanelsInputGradient : public testing::Test {};
TYPED_TEST_SUITE(PanelsInputGradient, Scalars);

TYPED_TEST(PanelsInputGradient, IsTheMatrixProduct) {
  using S = TypeParam;
  for (const Index rows : row_counts)
    for (const Index inputs : widths)
      for (const Index outputs : output_counts) {
        const Case<S> c(rows, inputs, outputs);
        expect_near<S>(gradient<S>(c.dy, Weights<S>(c.w), inputs), product(c.dy, c.w), outputs);
      }
}

TYPED_TEST(PanelsInputGradient, CanBeAdded) {
  using S = TypeParam;
  for (const Index rows : {2, 20})
    for (const Index inputs : {5, 40, 600}) {
      const Case<S> c(rows, inputs, 30);
      Matrix<S> dx = c.x;
      panels_input_gradient<S>(c.dy, Weights<S>(c.w), dx, 0, inputs, true);
      expect_near<S>(dx, c.x + product(c.dy, c.w), 30);
    }
}

TYPED_TEST(PanelsInputGradient, RangesOfColumnsGiveTheSameBits) {
  using S = TypeParam;
  for (const Index rows : {1, 3, 7, 17, 40})
    for (const Index inputs : {100, 513, 517, 523, 525, 1040}) {
      const Case<S> c(rows, inputs, 20);
      const Weights<S> w = c.w;
      expect_near<S>(gradient<S>(c.dy, w, inputs), product(c.dy, c.w), 20);
      EXPECT_TRUE(same_bits(gradient<S>(c.dy, w, inputs), gradient<S>(c.dy, w, 32))) << inputs;
    }
}

TYPED_TEST(PanelsInputGradient, ARowsBitsDoNotDependOnItsNeighbours) {
  using S = TypeParam;
  const Case<S> c(140, 1600, 40);
  const Weights<S> w = c.w;
  const Matrix<S> dx = gradient<S>(c.dy, w, 1600),
                  dx_of_few = gradient<S>(c.dy.topRows(rows_of_input_by_lane), w, 1600);
  for (const Index rows : {1, 2, 3, 4, 5, 6, 8, 13, 17, 24, 30, 45, 139})
    for (const Index first : {Index{0}, 140 - rows}) {
      if (rows <= rows_of_input_by_lane)
        EXPECT_TRUE(same_bits(gradient<S>(c.dy.topRows(rows), w, 1600), dx_of_few.topRows(rows)));
      else
        EXPECT_TRUE(same_bits(gradient<S>(c.dy.middleRows(first, rows), w, 1600), dx.middleRows(first, rows)));
    }
}

TYPED_TEST(PanelsInputGradient, ANaNReachesItsOwnRowAlone) {
  using S = TypeParam;
  for (const Index rows : {3, 20}) {
    Case<S> c(rows, 33, 40);
    c.dy(2, 7) = support::nan_of<S>;
    const Matrix<S> dx = gradient<S>(c.dy, Weights<S>(c.w), 33);
    for (Index n = 0; n < rows; ++n) EXPECT_EQ(dx.row(n).array().isNaN().any(), n == 2) << n;
  }
}

TYPED_TEST(PanelsInputGradient, InfiniteWeightsStayInTheirColumns) {
  using S = TypeParam;
  for (const Index rows : {2, 5}) {
    Case<S> c(rows, 20, 18);
    c.w(17, 3) = support::infinity_of<S>;  // in the narrow panel
    const Matrix<S> dx = gradient<S>(c.dy, Weights<S>(c.w), 20);
    for (Index d = 0; d < 20; ++d) EXPECT_EQ(dx.col(d).allFinite(), d != 3) << d;
    EXPECT_FALSE(dx.col(3).array().isNaN().any()) << rows;
  }
}

TYPED_TEST(PanelsInputGradient, RowsMayBePartsOfAWiderMatrix) {
  using S = TypeParam;
  for (const Index rows : {0, 3, 9}) {
    const Case<S> c(rows, 20, 30);
    const Weights<S> w = c.w;
    Matrix<S> wide = Matrix<S>::Zero(rows + 1, 50), dx_wide = Matrix<S>::Zero(rows + 1, 50);
    wide.topLeftCorner(rows, 30) = c.dy;
    panels_input_gradient<S>(wide.topLeftCorner(rows, 30), w, dx_wide.topRightCorner(rows, 20), 0, 20, false);
    EXPECT_TRUE(same_bits(dx_wide.topRightCorner(rows, 20), gradient<S>(c.dy, w, 20)));
    EXPECT_TRUE(dx_wide.leftCols(30).isZero(0) && dx_wide.row(rows).isZero(0));
  }
}

TYPED_TEST(PanelsInputGradient, AStorageThatIsDecodedGivesTheBitsOfPlainWeights) {
  using S = TypeParam;
  for (const Index rows : {1, 3, 4, 30, 130})
    for (const Index inputs : {3, 33, 520})
      for (const Index outputs : {5, 16, 150}) {
        const Case<S> c(rows, inputs, outputs);
        const Int8Rows<S> stored(c.w);
        const Weights<S> plain = stored.matrix();
        EXPECT_TRUE(same_bits(gradient<S>(c.dy, stored, inputs), gradient<S>(c.dy, plain, inputs)));
        EXPECT_TRUE(same_bits(gradient<S>(c.dy, stored, 32), gradient<S>(c.dy, plain, 32)));
      }
}

}  // namespace panels_input_gradient_test
}  // namespace moe::detail
