// Sums and products of single rows, each given by its address and width.
#pragma once

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
Eigen::Map<const Vector<S>> row_view(const S* row, Index width) {
  return {row, width};
}
template <class S>
Eigen::Map<Vector<S>> row_view(S* row, Index width) {
  return {row, width};
}

/// The address of a row.
template <class S>
const S* row_of(const ConstMatrixRef<S>& rows, Index i) {
  return rows.data() + i * rows.outerStride();
}
template <class S>
S* row_of(MatrixRef<S>& rows, Index i) {
  return rows.data() + i * rows.outerStride();
}
template <class S>
S* row_of(Buffer<Matrix<S>>& rows, Index i) {
  return rows.data() + i * rows.cols();
}

/// to += factor * from.
template <class S>
void add_row(S factor, const S* from, S* to, Index width) {
  row_view(to, width) += factor * row_view(from, width);
}

/// to = factor * from.
template <class S>
void scale_row_into(S factor, const S* from, S* to, Index width) {
  row_view(to, width) = factor * row_view(from, width);
}

/// to = a * x + b * y; `to` may be one of them.
template <class S>
void blend_rows(S a, const S* x, S b, const S* y, S* to, Index width) {
  row_view(to, width) = a * row_view(x, width) + b * row_view(y, width);
}

}  // namespace detail

MOE_NAMESPACE_END
