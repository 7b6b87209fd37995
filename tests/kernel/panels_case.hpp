// A linear map in panels, to be tested against the plain product, and a storage that keeps 8-bit numbers.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "moe/core/weights.hpp"
#include "support/matrices.hpp"

namespace moe::panels_case {

using support::product;
using support::random_matrix;
using support::same_bits;

/// Sizes on both sides of every boundary: a tile's rows, a panel's width, a part of a sum.
inline const std::vector<Index> row_counts{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 40, 130, 256, 259};
inline const std::vector<Index> widths{1, 3, 11, 12, 13, 33, 48, 512, 1600};
inline const std::vector<Index> output_counts{1, 15, 16, 17, 33, 150, 520};

template <class S>
struct Case {
  Matrix<S> x, w, dy;
  Vector<S> b;

  Case(Index rows, Index inputs, Index outputs)
      : x(random_matrix<S>(rows, inputs, 1)),
        w(random_matrix<S>(outputs, inputs, 2)),
        dy(random_matrix<S>(rows, outputs, 3)),
        b(random_matrix<S>(outputs, 1, 4)) {}
};

template <class S>
void expect_near(const Matrix<S>& result, const Matrix<S>& expected, Index terms) {
  if (expected.size() == 0) return;
  const S tolerance = 8 * std::numeric_limits<S>::epsilon() * static_cast<S>(terms + 1);
  EXPECT_LE((result - expected).cwiseAbs().maxCoeff(), tolerance * (1 + expected.cwiseAbs().maxCoeff()))
      << result.rows() << " x " << result.cols() << ", " << terms << " terms";
}

/// Weights of 8 bits and one scale, row after row: nothing of it lies as a kernel reads it.
template <class S>
struct Int8Rows {
  using Scalar = S;
  std::vector<std::int8_t> values;
  Index outputs, inputs;
  S scale;

  explicit Int8Rows(const Matrix<S>& w) : outputs(w.rows()), inputs(w.cols()), scale(w.cwiseAbs().maxCoeff() / 127) {
    for (Index i = 0; i < outputs; ++i)
      for (Index j = 0; j < inputs; ++j) values.push_back(static_cast<std::int8_t>(std::lround(w(i, j) / scale)));
  }

  Index rows() const { return outputs; }
  Index cols() const { return inputs; }
  Index panels() const { return (outputs + panel_width - 1) / panel_width; }
  S operator()(Index i, Index j) const {
    return scale * static_cast<S>(values[static_cast<std::size_t>(i * inputs + j)]);
  }
  Matrix<S> matrix() const {
    return Matrix<S>::NullaryExpr(outputs, inputs, [this](Index i, Index j) { return (*this)(i, j); });
  }

  void decode_panel(Index p, Index k, Index depth, S* out) const {
    for (Index j = k; j < k + depth; ++j)
      for (Index i = p * panel_width; i < (p + 1) * panel_width; ++i) *out++ = i < outputs ? (*this)(i, j) : S(0);
  }
};

using Scalars = ::testing::Types<float, double>;

}  // namespace moe::panels_case
