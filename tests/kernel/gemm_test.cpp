#include "moe/kernel/gemm.hpp"

#include <gtest/gtest.h>

#include "support/matrices.hpp"

namespace moe {
namespace gemm_test {

using detail::Strided;
using support::product;

template <class S>
Strided<S> plain(const Matrix<S>& m) {
  return {m.data(), m.outerStride(), 1};
}

template <class S>
Strided<S> transposed(const Matrix<S>& m) {
  return {m.data(), 1, m.outerStride()};
}

/// Entries -2 .. 2: every sum of products is exact, in whatever order.
template <class S>
Matrix<S> small_integers(Index rows, Index columns, Index seed) {
  return Matrix<S>::NullaryExpr(rows, columns,
                                [seed](Index i, Index j) { return static_cast<S>((7 * i + 3 * j + seed) % 5 - 2); });
}

template <class S>
void expect_product(Index rows, Index columns, Index depth) {
  const Matrix<S> a = small_integers<S>(rows, depth, 1), b = small_integers<S>(depth, columns, 2);
  Matrix<S> c(rows, columns);
  support::poison(c);
  detail::gemm<S>(rows, columns, depth, plain(a), plain(b), c.data(), c.outerStride(), false);
  EXPECT_EQ(c, product(a, b)) << rows << " x " << depth << " x " << columns;
}

TEST(Gemm, SizesAroundATileAreExact) {
  for (const Index rows : {1, 2, 3, 4, 5, 6, 7, 11, 12, 13})
    for (const Index columns : {1, 15, 16, 17, 130})
      for (const Index depth : {1, 2, 17}) expect_product<float>(rows, columns, depth);
}

TEST(Gemm, SizesAroundABlockAreExact) {
  for (const Index rows : {47, 48, 49, 200})
    for (const Index depth : {detail::longest_sum - 1, detail::longest_sum, 2 * detail::longest_sum + 1})
      expect_product<double>(rows, 3, depth);
}

TEST(Gemm, AnEmptyProductWritesNothing) {
  const Matrix<float> a(0, 3), b = small_integers<float>(3, 2, 1);
  detail::gemm<float>(0, 2, 3, plain(a), plain(b), nullptr, 2, false);
  detail::gemm<float>(2, 0, 3, plain(b), plain(b), nullptr, 0, false);
}

TEST(Gemm, ASumOverNothingIsZero) {
  Matrix<float> c = Matrix<float>::Ones(2, 3);
  const Matrix<float> none(0, 0);
  detail::gemm<float>(2, 3, 0, plain(none), plain(none), c.data(), 3, true);
  EXPECT_EQ(c, Matrix<float>::Ones(2, 3));
  detail::gemm<float>(2, 3, 0, plain(none), plain(none), c.data(), 3, false);
  EXPECT_EQ(c, Matrix<float>::Zero(2, 3));
}

TEST(Gemm, AccumulationAddsToWhatIsThere) {
  const Matrix<float> a = small_integers<float>(7, 300, 1), b = small_integers<float>(300, 5, 2);
  Matrix<float> c = Matrix<float>::Constant(7, 5, 10);
  detail::gemm<float>(7, 5, 300, plain(a), plain(b), c.data(), 5, true);
  EXPECT_EQ(c, (product(a, b).array() + 10).matrix());
}

TEST(Gemm, OperandsMayBeTransposedByTheirStrides) {
  const Matrix<float> a = small_integers<float>(4, 9, 1), b = small_integers<float>(20, 4, 2);
  Matrix<float> c(9, 20);
  detail::gemm<float>(9, 20, 4, transposed(a), transposed(b), c.data(), 20, false);
  EXPECT_EQ(c, product<float>(a.transpose(), b.transpose()));
}

TEST(Gemm, WhatLiesBetweenTheRowsOfTheResultIsLeftAlone) {
  const Matrix<float> a = small_integers<float>(8, 3, 1), b = small_integers<float>(3, 5, 2);
  Matrix<float> wide = Matrix<float>::Constant(8, 9, 77);
  detail::gemm<float>(8, 5, 3, plain(a), plain(b), wide.data() + 2, 9, false);
  EXPECT_EQ(wide.middleCols(2, 5), product(a, b));
  EXPECT_TRUE((wide.leftCols(2).array() == 77).all());
  EXPECT_TRUE((wide.rightCols(2).array() == 77).all());
}

TEST(Gemm, TheBitsOfARowDoNotDependOnTheOtherRows) {
  const Matrix<float> a = support::random_matrix<float>(23, 600, 1), b = support::random_matrix<float>(600, 21, 2);
  Matrix<float> all(23, 21), one(1, 21);
  detail::gemm<float>(23, 21, 600, plain(a), plain(b), all.data(), 21, false);
  for (Index i = 0; i < a.rows(); ++i) {
    detail::gemm<float>(1, 21, 600, {a.row(i).data(), 600, 1}, plain(b), one.data(), 21, false);
    EXPECT_TRUE(support::same_bits(one, all.row(i))) << "row " << i;
  }
}

TEST(Gemm, TheBitsOfAColumnDoNotDependOnTheOtherColumns) {
  const Matrix<float> a = support::random_matrix<float>(5, 600, 1), b = support::random_matrix<float>(600, 40, 2);
  Matrix<float> all(5, 40), part(5, 3);
  detail::gemm<float>(5, 40, 600, plain(a), plain(b), all.data(), 40, false);
  detail::gemm<float>(5, 3, 600, plain(a), {b.data() + 30, 40, 1}, part.data(), 3, false);
  EXPECT_TRUE(support::same_bits(part, all.middleCols(30, 3)));
}

TEST(Gemm, NaNReachesItsOwnRowOnly) {
  Matrix<float> a = small_integers<float>(8, 4, 1);
  const Matrix<float> b = small_integers<float>(4, 3, 2), expected = product(a, b);
  a(5, 1) = support::nan_of<float>;
  Matrix<float> c(8, 3);
  detail::gemm<float>(8, 3, 4, plain(a), plain(b), c.data(), 3, false);
  EXPECT_TRUE(c.row(5).array().isNaN().all());
  EXPECT_EQ(c.topRows(5), expected.topRows(5));
  EXPECT_EQ(c.bottomRows(2), expected.bottomRows(2));
}

/// On both sides of a run of rows, and of runs that are added up together; more columns and rows than scratch holds.
TEST(Gemm, ProductsOfRowsAreAddedWhateverTheirNumber) {
  for (const Index rows : {0, 1, 256, 257, 256 * 33 + 1}) {
    const Index outputs = rows == 257 ? 300 : 5, inputs = rows == 257 ? 515 : 3;
    const Matrix<float> a = small_integers<float>(rows, outputs, 1), b = small_integers<float>(rows, inputs, 2);
    Matrix<float> c = small_integers<float>(outputs, inputs + 2, 3);
    Matrix<float> expected = c;
    expected.middleCols(1, inputs) += product<float>(a.transpose(), b);
    detail::add_product_of_rows<float>(a, b, c.middleCols(1, inputs));
    EXPECT_EQ(c, expected) << rows;
  }
}

}  // namespace gemm_test
}  // namespace moe
