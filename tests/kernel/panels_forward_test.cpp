#include "moe/kernel/panels_forward.hpp"

#include <gtest/gtest.h>

#include <array>

#include "kernel/panels_case.hpp"

namespace moe::detail {
namespace panels_forward_test {

using namespace panels_case;

template <class S, class W>
Matrix<S> forward(const Matrix<S>& x, const W& w, const Vector<S>& b, Index columns_at_once) {
  Matrix<S> y(x.rows(), w.rows());
  support::poison(y);
  for (Index first = 0; first < w.rows(); first += columns_at_once)
    panels_forward<S>(x, w, b, y, first, columns_at_once);
  return y;
}

template <class S>
class PanelsForward : public testing::Test {};
TYPED_TEST_SUITE(PanelsForward, Scalars);

TYPED_TEST(PanelsForward, IsTheMatrixProduct) {
  using S = TypeParam;
  for (const Index rows : row_counts)
    for (const Index inputs : widths)
      for (const Index outputs : output_counts) {
        const Case<S> c(rows, inputs, outputs);
        expect_near<S>(forward<S>(c.x, Weights<S>(c.w), c.b, outputs),
                       product<S>(c.x, c.w.transpose()).rowwise() + c.b.transpose(), inputs);
      }
}

TYPED_TEST(PanelsForward, WithoutABiasThereIsNone) {
  using S = TypeParam;
  const Case<S> c(5, 7, 20);
  expect_near<S>(forward<S>(c.x, Weights<S>(c.w), Vector<S>(), 20), product<S>(c.x, c.w.transpose()), 7);
}

TYPED_TEST(PanelsForward, RangesOfColumnsGiveTheSameBits) {
  using S = TypeParam;
  for (const Index rows : {1, 3, 7, 40}) {
    const Case<S> c(rows, 100, 90);
    const Weights<S> w = c.w;
    EXPECT_TRUE(same_bits(forward<S>(c.x, w, c.b, 16), forward<S>(c.x, w, c.b, 90))) << rows;
  }
}

TYPED_TEST(PanelsForward, ARowsBitsDoNotDependOnItsNeighbours) {
  using S = TypeParam;
  const Case<S> c(140, 1600, 40);
  const Weights<S> w = c.w;
  const Matrix<S> y = forward<S>(c.x, w, c.b, 40);
  for (const Index rows : {1, 2, 4, 5, 6, 8, 13, 17, 24, 30, 45, 139})
    for (const Index first : {Index{0}, 140 - rows})
      EXPECT_TRUE(same_bits(forward<S>(c.x.middleRows(first, rows), w, c.b, 40), y.middleRows(first, rows)));
}

TYPED_TEST(PanelsForward, ANaNReachesItsOwnRowAlone) {
  using S = TypeParam;
  for (const Index rows : {3, 20}) {
    Case<S> c(rows, 33, 40);
    c.x(1, 5) = support::nan_of<S>;
    const Matrix<S> y = forward<S>(c.x, Weights<S>(c.w), c.b, 40);
    for (Index n = 0; n < rows; ++n) EXPECT_EQ(y.row(n).array().isNaN().any(), n == 1) << n;
  }
}

TYPED_TEST(PanelsForward, InfiniteWeightsStayInTheirColumns) {
  using S = TypeParam;
  for (const Index rows : {2, 5}) {
    Case<S> c(rows, 20, 18);
    c.w(17, 3) = support::infinity_of<S>;  // in the narrow panel
    const Matrix<S> y = forward<S>(c.x, Weights<S>(c.w), c.b, 18);
    EXPECT_TRUE(y.leftCols(17).allFinite());
    EXPECT_FALSE(y.col(17).array().isFinite().any());
  }
}

TYPED_TEST(PanelsForward, RowsMayBePartsOfAWiderMatrix) {
  using S = TypeParam;
  for (const Index rows : {0, 3, 9}) {
    const Case<S> c(rows, 20, 30);
    const Weights<S> w = c.w;
    Matrix<S> wide = Matrix<S>::Zero(rows + 1, 50), y_wide = Matrix<S>::Zero(rows + 1, 50);
    wide.topLeftCorner(rows, 20) = c.x;
    panels_forward<S>(wide.topLeftCorner(rows, 20), w, c.b, y_wide.topLeftCorner(rows, 30), 0, 30);
    EXPECT_TRUE(same_bits(y_wide.topLeftCorner(rows, 30), forward<S>(c.x, w, c.b, 30)));
    EXPECT_TRUE(y_wide.rightCols(20).isZero(0) && y_wide.row(rows).isZero(0));
  }
}

TYPED_TEST(PanelsForward, AStorageThatIsDecodedGivesTheBitsOfPlainWeights) {
  using S = TypeParam;
  for (const Index rows : {1, 2, 5, 13, 30, 100})
    for (const Index inputs : {1, 33, 1600})
      for (const Index outputs : {5, 16, 150}) {
        const Case<S> c(rows, inputs, outputs);
        const Int8Rows<S> stored(c.w);
        const Weights<S> plain = stored.matrix();
        EXPECT_TRUE(same_bits(forward<S>(c.x, stored, c.b, outputs), forward<S>(c.x, plain, c.b, outputs)));
        EXPECT_TRUE(same_bits(forward<S>(c.x, stored, c.b, 32), forward<S>(c.x, plain, c.b, 32)));
      }
}

TYPED_TEST(PanelsForward, TwoWeightsAreMultipliedAtOnce) {
  using S = TypeParam;
  for (const Index rows : {1, 5, 30}) {
    const Case<S> c(rows, 1600, 50);
    const Weights<S> one = c.w, two = Matrix<S>(c.w * S(-3));
    Matrix<S> y1(rows, 50), y2(rows, 50);
    const auto take = [&](const SumsPlace& at, const S* const* sums) {
      for (Index i = 0; i < at.rows; ++i) {
        add_sums<S>(at, sums[0] + i * panel_width, c.b, &y1(at.row + i, at.column));
        add_sums<S>(at, sums[1] + i * panel_width, c.b, &y2(at.row + i, at.column));
      }
    };
    panels_sums<S, Weights<S>>(c.x, {&one, &two}, 0, 50, {y1, y2}, take);
    EXPECT_TRUE(same_bits(y1, forward<S>(c.x, one, c.b, 50)));
    EXPECT_TRUE(same_bits(y2, forward<S>(c.x, two, c.b, 50)));
  }
}

}  // namespace panels_forward_test
}  // namespace moe::detail
