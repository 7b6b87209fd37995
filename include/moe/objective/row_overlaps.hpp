// What the losses on a router's rows share: their products with each other, W W' - 1, and the way back.
#pragma once

#include <cmath>
#include <string_view>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Rows divided by their lengths.
template <class S>
struct Directions {
  Matrix<S> row_ED;
  Vector<S> length_E;

  /// Throws std::invalid_argument for a row of zeros.
  Directions(std::string_view loss, const Matrix<S>& weight_ED)
      : row_ED(weight_ED.rows(), weight_ED.cols()), length_E(weight_ED.rows()) {
    const Index width = weight_ED.cols();
    for (Index e = 0; e < weight_ED.rows(); ++e) {
      const S* w = row_at(weight_ED, e);
      const S length = std::sqrt(dot_rows(w, w, width));
      require(length > 0, loss, ": the row of expert ", e, " is 0, it has no direction");
      length_E.data()[e] = length;
      for (Index i = 0; i < width; ++i) row_at(row_ED, e)[i] = w[i] / length;
    }
  }

  /// Calls to(e, i, gradient of entry (e, i) of the rows) for the gradient of their directions.
  template <class F>
  void backward(const Matrix<S>& ddirection_ED, F&& to) const {
    const Index width = row_ED.cols();
    for (Index e = 0; e < row_ED.rows(); ++e) {
      const S *u = row_at(row_ED, e), *d = row_at(ddirection_ED, e);
      const S along = dot_rows(u, d, width), length = length_E.data()[e];
      for (Index i = 0; i < width; ++i) to(e, i, (d[i] - along * u[i]) / length);
    }
  }
};

/// Calls f(e, f, entry (e, f) of W W' - 1).
template <class S, class F>
void for_each_excess(const Matrix<S>& row_ED, F&& f) {
  for (Index e = 0; e < row_ED.rows(); ++e)
    for (Index other = 0; other < row_ED.rows(); ++other)
      f(e, other, dot_rows(row_at(row_ED, e), row_at(row_ED, other), row_ED.cols()) - (e == other ? S(1) : S(0)));
}

/// drow_ED += slope(excess) times the other row, over all pairs. For a sum of g(excess) over them the slope is 2 g'.
template <class S, class F>
void add_excess_gradient(const Matrix<S>& row_ED, F&& slope, Matrix<S>& drow_ED) {
  const Index experts = row_ED.rows(), width = row_ED.cols();
  Vector<S> slope_E(experts);  // of one row
  for_each_excess(row_ED, [&](Index e, Index other, S excess) {
    slope_E.data()[other] = slope(excess);
    if (other + 1 < experts) return;
    const auto add = [&](Index f, Index first, Index count, S* sums) {
      add_scaled_row(slope_E.data()[f], row_at(row_ED, f) + first, count, sums);
      return true;
    };
    add_terms<S>(experts, width, row_at(drow_ED, e), add);
  });
}

}  // namespace detail

MOE_NAMESPACE_END
