#include "moe/kernel/panels.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/matrices.hpp"

namespace moe::detail {
namespace panels_test {

using support::product;
using support::random_matrix;
using support::same_bits;

/// Sizes on both sides of every boundary: a tile's rows, a panel's sixteen columns, a part of a sum.
const std::vector<Index> row_counts{
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 40, 130, rows_of_gradient, rows_of_gradient + 3};
const std::vector<Index> widths{1, 3, 11, 12, 13, 33, 48, columns_at_once, 1600};
const std::vector<Index> output_counts{1, 15, 16, 17, 33, 150, 520};

template <class S>
struct Case {
  Matrix<S> x, w, dy;
  Vector<S> b;

  Case(Index rows, Index inputs, Index outputs)
      : x(random_matrix<S>(rows, inputs, 1)),
        w(random_matrix<S>(outputs, inputs, 2)),
        dy(random_matrix<S>(rows, outputs, 3)),
        b(random_matrix<S>(outputs, 1, 4)) {}

  Matrix<S> forward(const Matrix<S>& rows, Index columns_at_once) const {
    Matrix<S> y(rows.rows(), w.rows());
    support::poison(y);
    const Weights<S> weights = w;
    for (Index first = 0; first < w.rows(); first += columns_at_once)
      panels_forward<S>(rows, weights, b, y, first, columns_at_once);
    return y;
  }

  Matrix<S> input_gradient(const Matrix<S>& rows, Index columns_at_once) const {
    Matrix<S> dx(rows.rows(), w.cols());
    support::poison(dx);
    for (Index first = 0; first < w.cols(); first += columns_at_once)
      panels_input_gradient<S>(rows, Weights<S>(w), dx, first, columns_at_once, false);
    return dx;
  }
};

template <class S>
void expect_near(const Matrix<S>& result, const Matrix<S>& expected, Index terms) {
  if (expected.size() == 0) return;
  const S tolerance = 8 * std::numeric_limits<S>::epsilon() * static_cast<S>(terms + 1);
  EXPECT_LE((result - expected).cwiseAbs().maxCoeff(), tolerance * (1 + expected.cwiseAbs().maxCoeff()))
      << result.rows() << " x " << result.cols() << ", " << terms << " terms";
}

template <class S>
class Panels : public testing::Test {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(Panels, Scalars);

TYPED_TEST(Panels, AllThreeProductsAreTheMatrixProducts) {
  using S = TypeParam;
  for (const Index rows : row_counts)
    for (const Index inputs : widths)
      for (const Index outputs : output_counts) {
        const Case<S> c(rows, inputs, outputs);
        expect_near<S>(c.forward(c.x, outputs), product<S>(c.x, c.w.transpose()).rowwise() + c.b.transpose(), inputs);
        expect_near<S>(c.input_gradient(c.dy, inputs), product(c.dy, c.w), outputs);
        Weights<S> dw = c.w;
        Vector<S> db = c.b;
        panels_weight_gradient<S>(c.dy, c.x, dw, db, 0, outputs);
        expect_near<S>(dw.matrix(), c.w + product<S>(c.dy.transpose(), c.x), rows);
        expect_near<S>(db, c.b + product<S>(c.dy.transpose(), Matrix<S>::Ones(rows, 1)), rows);
      }
}

TYPED_TEST(Panels, WithoutABiasThereIsNone) {
  const Case<TypeParam> c(5, 7, 20);
  Matrix<TypeParam> y(5, 20);
  panels_forward<TypeParam>(c.x, Weights<TypeParam>(c.w), Vector<TypeParam>(), y, 0, 20);
  expect_near<TypeParam>(y, product<TypeParam>(c.x, c.w.transpose()), 7);
}

TYPED_TEST(Panels, TheInputGradientCanBeAdded) {
  for (const Index rows : {2, 20})
    for (const Index inputs : {40, 600}) {
      const Case<TypeParam> c(rows, inputs, 30);
      Matrix<TypeParam> dx = c.x;
      panels_input_gradient<TypeParam>(c.dy, Weights<TypeParam>(c.w), dx, 0, inputs, true);
      expect_near<TypeParam>(dx, c.x + product(c.dy, c.w), 30);
    }
}

TYPED_TEST(Panels, RangesOfColumnsGiveTheSameBits) {
  using S = TypeParam;
  for (const Index rows : {1, 3, 7, 40}) {
    const Case<S> c(rows, 100, 90);
    EXPECT_TRUE(same_bits(c.forward(c.x, 16), c.forward(c.x, 90))) << rows;
    EXPECT_TRUE(same_bits(c.input_gradient(c.dy, 32), c.input_gradient(c.dy, 100))) << rows;
    Weights<S> whole = c.w, cut = c.w;
    Vector<S> whole_b = c.b, cut_b = c.b;
    panels_weight_gradient<S>(c.dy, c.x, whole, whole_b, 0, 90);
    for (Index first = 0; first < 90; first += 32) panels_weight_gradient<S>(c.dy, c.x, cut, cut_b, first, 32);
    EXPECT_TRUE(same_bits(whole.matrix(), cut.matrix())) << rows;
    EXPECT_TRUE(same_bits(whole_b, cut_b)) << rows;
  }
}

TYPED_TEST(Panels, ARowsBitsDoNotDependOnItsNeighbours) {
  using S = TypeParam;
  const Case<S> c(140, 1600, 40);
  const Matrix<S> y = c.forward(c.x, 40), dx = c.input_gradient(c.dy, 1600);
  for (const Index rows : {1, 2, 4, 5, 6, 8, 13, 17, 24, 30, 45, 139})
    for (const Index first : {Index{0}, 140 - rows}) {
      EXPECT_TRUE(same_bits(c.forward(c.x.middleRows(first, rows), 40), Matrix<S>(y.middleRows(first, rows))));
      if (rows <= rows_of_input_by_lane) continue;
      EXPECT_TRUE(
          same_bits(c.input_gradient(c.dy.middleRows(first, rows), 1600), Matrix<S>(dx.middleRows(first, rows))));
    }
  const Matrix<S> dx_of_few = c.input_gradient(c.dy.topRows(rows_of_input_by_lane), 1600);
  for (Index rows = 1; rows <= rows_of_input_by_lane; ++rows)
    EXPECT_TRUE(same_bits(c.input_gradient(c.dy.topRows(rows), 1600), Matrix<S>(dx_of_few.topRows(rows))));
}

TYPED_TEST(Panels, ANaNReachesItsOwnRowAlone) {
  using S = TypeParam;
  for (const Index rows : {3, 20}) {
    Case<S> c(rows, 33, 40);
    c.x(1, 5) = support::nan_of<S>;
    c.dy(2, 7) = support::nan_of<S>;
    const Matrix<S> y = c.forward(c.x, 40), dx = c.input_gradient(c.dy, 33);
    for (Index n = 0; n < rows; ++n) {
      EXPECT_EQ(y.row(n).array().isNaN().any(), n == 1) << n;
      EXPECT_EQ(dx.row(n).array().isNaN().any(), n == 2) << n;
    }
  }
}

TYPED_TEST(Panels, InfiniteWeightsStayInTheirColumns) {
  using S = TypeParam;
  for (const Index rows : {2, 5}) {
    Case<S> c(rows, 20, 18);
    c.w(17, 3) = support::infinity_of<S>;  // in the narrow panel
    const Matrix<S> y = c.forward(c.x, 18), dx = c.input_gradient(c.dy, 20);
    EXPECT_TRUE(y.leftCols(17).allFinite());
    EXPECT_FALSE(y.col(17).array().isFinite().any());
    for (Index d = 0; d < 20; ++d) EXPECT_EQ(dx.col(d).allFinite(), d != 3) << d;
    EXPECT_FALSE(dx.col(3).array().isNaN().any()) << rows;
  }
}

TYPED_TEST(Panels, NoRowsAreNoWork) {
  using S = TypeParam;
  const Case<S> c(0, 40, 40);
  EXPECT_EQ(c.forward(c.x, 16).rows(), 0);
  EXPECT_EQ(c.input_gradient(c.dy, 16).rows(), 0);
  Weights<S> dw = c.w;
  Vector<S> db = c.b;
  panels_weight_gradient<S>(c.dy, c.x, dw, db, 16, 16);
  EXPECT_EQ(dw.matrix(), c.w);
}

TYPED_TEST(Panels, NoInputsAreNoWeights) {
  for (const Index rows : {3, 9}) {
    Weights<TypeParam> dw(16, 0);
    Vector<TypeParam> db = Vector<TypeParam>::Zero(16);
    panels_weight_gradient<TypeParam>(Matrix<TypeParam>::Ones(rows, 16), Matrix<TypeParam>(rows, 0), dw, db, 0, 16);
    EXPECT_EQ(db, Vector<TypeParam>::Constant(16, static_cast<TypeParam>(rows)));
  }
}

TYPED_TEST(Panels, RangesMayEndInsideATile) {
  using S = TypeParam;
  for (const Index rows : {3, 17})
    for (const Index inputs : {513, 517, 523, 525, 1040}) {
      const Case<S> c(rows, inputs, 20);
      expect_near<S>(c.input_gradient(c.dy, inputs), product(c.dy, c.w), 20);
      EXPECT_TRUE(same_bits(c.input_gradient(c.dy, inputs), c.input_gradient(c.dy, 128))) << inputs;
    }
}

TYPED_TEST(Panels, RowsMayBePartsOfAWiderMatrix) {
  using S = TypeParam;
  for (const Index rows : {3, 9}) {
    const Case<S> c(rows, 20, 30);
    Matrix<S> wide = Matrix<S>::Zero(rows, 50), y_wide = Matrix<S>::Zero(rows, 50);
    wide.leftCols(20) = c.x;
    panels_forward<S>(wide.leftCols(20), Weights<S>(c.w), c.b, y_wide.leftCols(30), 0, 30);
    EXPECT_TRUE(same_bits(Matrix<S>(y_wide.leftCols(30)), c.forward(c.x, 30)));
    EXPECT_EQ(y_wide.rightCols(20), (Matrix<S>::Zero(rows, 20)));
    wide.leftCols(30) = c.dy;
    panels_input_gradient<S>(wide.leftCols(30), Weights<S>(c.w), y_wide.rightCols(20), 0, 20, false);
    EXPECT_TRUE(same_bits(Matrix<S>(y_wide.rightCols(20)), c.input_gradient(c.dy, 20)));
    EXPECT_TRUE(same_bits(Matrix<S>(y_wide.leftCols(30)), c.forward(c.x, 30)));
    wide.rightCols(20) = c.x;
    Weights<S> dw = c.w, dw_of_parts = c.w;
    Vector<S> db = c.b, db_of_parts = c.b;
    panels_weight_gradient<S>(c.dy, c.x, dw, db, 0, 30);
    panels_weight_gradient<S>(wide.leftCols(30), wide.rightCols(20), dw_of_parts, db_of_parts, 0, 30);
    EXPECT_TRUE(same_bits(dw.matrix(), dw_of_parts.matrix()));
    EXPECT_TRUE(same_bits(db, db_of_parts));
  }
}

}  // namespace panels_test
}  // namespace moe::detail
