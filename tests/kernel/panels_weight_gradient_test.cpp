#include "moe/kernel/panels_weight_gradient.hpp"

#include <gtest/gtest.h>

#include "kernel/panels_case.hpp"

namespace moe::detail {
namespace panels_weight_gradient_test {

using namespace panels_case;

template <class S>
class PanelsWeightGradient : public testing::Test {};
TYPED_TEST_SUITE(PanelsWeightGradient, Scalars);

TYPED_TEST(PanelsWeightGradient, IsTheMatrixProductAndIsAdded) {
  using S = TypeParam;
  for (const Index rows : row_counts)
    for (const Index inputs : widths)
      for (const Index outputs : output_counts) {
        const Case<S> c(rows, inputs, outputs);
        Weights<S> dw = c.w;
        Vector<S> db = c.b;
        panels_weight_gradient<S>(c.dy, c.x, dw, db, 0, outputs);
        expect_near<S>(dw.matrix(), c.w + product<S>(c.dy.transpose(), c.x), rows);
        expect_near<S>(db, c.b + product<S>(c.dy.transpose(), Matrix<S>::Ones(rows, 1)), rows);
      }
}

TYPED_TEST(PanelsWeightGradient, RangesOfColumnsGiveTheSameBits) {
  using S = TypeParam;
  for (const Index rows : {1, 3, 7, 40}) {
    const Case<S> c(rows, 100, 90);
    Weights<S> whole = c.w, cut = c.w;
    Vector<S> whole_b = c.b, cut_b = c.b;
    panels_weight_gradient<S>(c.dy, c.x, whole, whole_b, 0, 90);
    for (Index first = 0; first < 90; first += 32) panels_weight_gradient<S>(c.dy, c.x, cut, cut_b, first, 32);
    EXPECT_TRUE(same_bits(whole.matrix(), cut.matrix())) << rows;
    EXPECT_TRUE(same_bits(whole_b, cut_b)) << rows;
  }
}

TYPED_TEST(PanelsWeightGradient, NoRowsAreNoWork) {
  using S = TypeParam;
  const Case<S> c(0, 40, 40);
  Weights<S> dw = c.w;
  Vector<S> db = c.b;
  panels_weight_gradient<S>(c.dy, c.x, dw, db, 16, 16);
  EXPECT_EQ(dw.matrix(), c.w);
}

TYPED_TEST(PanelsWeightGradient, NoInputsAreNoWeights) {
  using S = TypeParam;
  for (const Index rows : {3, 9}) {
    Weights<S> dw(16, 0);
    Vector<S> db = Vector<S>::Zero(16);
    const Matrix<S> dy = Matrix<S>::Ones(rows, 16), x(rows, 0);
    panels_weight_gradient<S>(dy, x, dw, db, 0, 16);
    EXPECT_EQ(db, Vector<S>::Constant(16, static_cast<S>(rows)));
  }
}

TYPED_TEST(PanelsWeightGradient, RowsMayBePartsOfAWiderMatrix) {
  using S = TypeParam;
  for (const Index rows : {3, 9}) {
    const Case<S> c(rows, 20, 30);
    Matrix<S> wide = Matrix<S>::Zero(rows, 50);
    wide.leftCols(30) = c.dy;
    wide.rightCols(20) = c.x;
    Weights<S> dw = c.w, dw_of_parts = c.w;
    Vector<S> db = c.b, db_of_parts = c.b;
    panels_weight_gradient<S>(c.dy, c.x, dw, db, 0, 30);
    panels_weight_gradient<S>(wide.leftCols(30), wide.rightCols(20), dw_of_parts, db_of_parts, 0, 30);
    EXPECT_TRUE(same_bits(dw.matrix(), dw_of_parts.matrix()));
    EXPECT_TRUE(same_bits(db, db_of_parts));
  }
}

TYPED_TEST(PanelsWeightGradient, OfVeryManyRowsIsExactWhereSumsAre) {
  using S = TypeParam;
  constexpr Index rows = runs_together * rows_of_gradient + 9, inputs = 260, outputs = 17;
  const auto integers = [](Index cols, Index seed) -> Matrix<S> {
    return Matrix<S>::NullaryExpr(rows, cols,
                                  [seed](Index i, Index j) { return static_cast<S>((7 * i + 3 * j + seed) % 5 - 2); });
  };
  const Matrix<S> dy = integers(outputs, 1), x = integers(inputs, 2);
  Weights<S> dw = Matrix<S>(Matrix<S>::Ones(outputs, inputs));
  Vector<S> db = Vector<S>::Ones(outputs);
  panels_weight_gradient<S>(dy, x, dw, db, 0, outputs);
  EXPECT_EQ(dw.matrix(), (Matrix<S>::Ones(outputs, inputs) + product<S>(dy.transpose(), x)));
  EXPECT_EQ(db, (Vector<S>::Ones(outputs) + dy.colwise().sum().transpose()));
}

/// A full panel and a narrow one, which are added up in different places.
TEST(LongPanelsWeightGradient, AMillionEqualRowsDoNotDriftInFloat) {
  constexpr Index rows = 1 << 20, outputs = 17, inputs = 5;
  const Matrix<float> dy = Matrix<float>::Constant(rows, outputs, 0.1F),
                      x = Matrix<float>::Constant(rows, inputs, 0.7F);
  Weights<float> dw = Matrix<float>(Matrix<float>::Zero(outputs, inputs));
  Vector<float> db = Vector<float>::Zero(outputs);
  panels_weight_gradient<float>(dy, x, dw, db, 0, outputs);
  const double sum = static_cast<double>(0.1F) * rows, product = sum * static_cast<double>(0.7F);
  EXPECT_LE((dw.matrix().cast<double>().array() / product - 1).abs().maxCoeff(), 1e-5);
  EXPECT_LE((db.cast<double>().array() / sum - 1).abs().maxCoeff(), 1e-5);
}

}  // namespace panels_weight_gradient_test
}  // namespace moe::detail
