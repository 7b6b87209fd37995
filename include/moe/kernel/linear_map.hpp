// The three products of a linear map y = x w' + b, with x (n, in), w (out, in), b (out) or empty, and y (n, out), of a
// plain matrix w: its pieces are packed at every call. Where that matters there are panels (moe/kernel/panels.hpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/kernel/gemm.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index linear_task_rows = 192;
inline constexpr Index linear_task_products = Index{1} << 18;  // fewer products than these are not worth a second task

/// Throws std::invalid_argument unless the shapes are those above: the products would leave the memory otherwise.
template <class S, class X, class Y>
void require_linear(const X& x, const Matrix<S>& w, const Vector<S>& b, const Y& y) {
  require(
      x.rows() == y.rows() && x.cols() == w.cols() && y.cols() == w.rows() && (b.size() == 0 || b.size() == w.rows()),
      "linear map: inputs of ", x.rows(), " x ", x.cols(), ", a weight of ", w.rows(), " x ", w.cols(), ", a bias of ",
      b.size(), " and outputs of ", y.rows(), " x ", y.cols(), " do not fit together");
}

/// y = x w' + b; tasks over blocks of rows, or, if there is but one, of outputs.
template <class S, class Exec>
void linear_forward(ConstMatrixRef<S> x, const Matrix<S>& w, const Vector<S>& b, MatrixRef<S> y, const Exec& executor) {
  require_linear(x, w, b, y);
  if (y.size() == 0) return;
  const auto product = [&](Index row, Index rows, Index first, Index outputs) {
    gemm<S>(rows, outputs, w.cols(), {x.data() + row * x.outerStride(), x.outerStride(), 1},
            {w.data() + first * w.outerStride(), 1, w.outerStride()}, &y(row, first), y.outerStride(), false);
    if (b.size() > 0) y.block(row, first, rows, outputs).rowwise() += b.segment(first, outputs).transpose();
  };
  if (x.rows() > linear_task_rows)
    return parallel_blocks(executor, x.rows(), linear_task_rows,
                           [&](Index row, Index rows) { product(row, rows, 0, w.rows()); });
  const bool one_task = x.rows() * w.size() < linear_task_products;
  const Index tasks = one_task ? 1 : (std::min)(tasks_to_occupy(executor), w.rows()),
              of_task = (w.rows() + tasks - 1) / tasks;
  parallel_blocks(executor, w.rows(), (of_task + 15) / 16 * 16,
                  [&](Index first, Index outputs) { product(0, x.rows(), first, outputs); });
}

/// dx = dy w, or dx += dy w; tasks over blocks of rows.
template <class S, class Exec>
void linear_input_gradient(ConstMatrixRef<S> dy, const Matrix<S>& w, MatrixRef<S> dx, bool accumulate,
                           const Exec& executor) {
  require_linear(dx, w, Vector<S>(), dy);
  parallel_blocks(executor, dy.rows(), linear_task_rows, [&](Index begin, Index count) {
    gemm<S>(count, w.cols(), w.rows(), {dy.data() + begin * dy.outerStride(), dy.outerStride(), 1},
            {w.data(), w.outerStride(), 1}, dx.data() + begin * dx.outerStride(), dx.outerStride(), accumulate);
  });
}

/// dw += dy' x and db += the sum of dy's rows; tasks over blocks of columns of dw.
template <class S, class Exec>
void linear_weight_gradient(ConstMatrixRef<S> dy, ConstMatrixRef<S> x, Matrix<S>& dw, Vector<S>& db,
                            const Exec& executor) {
  require_linear(x, dw, db, dy);
  if (dy.rows() == 0) return;
  parallel_blocks(executor, x.cols(), 64, [&](Index begin, Index count) {
    gemm<S>(dw.rows(), count, dy.rows(), {dy.data(), 1, dy.outerStride()}, {x.data() + begin, x.outerStride(), 1},
            dw.data() + begin, dw.outerStride(), true);
  });
  if (db.size() > 0)
    for (Index i = 0; i < dy.rows(); ++i) db += dy.row(i).transpose();
}

/// Copies the rows of `m` whose mark is not 0 into `rows`, in order: sums over rows then do not see the others at all.
template <class S>
void gather_marked_rows(ConstMatrixRef<S> m, const std::vector<std::uint8_t>& marks, Index marked,
                        Buffer<Matrix<S>>& rows) {
  require(static_cast<Index>(marks.size()) == m.rows() &&
              marked == m.rows() - std::count(marks.begin(), marks.end(), std::uint8_t{0}),
          "padding: a mask of ", marks.size(), " entries, ", marked, " of them tokens, does not fit ", m.rows(),
          " rows");
  rows.resize(marked, m.cols());
  Index next = 0;
  for (Index i = 0; i < m.rows(); ++i)
    if (marks[static_cast<std::size_t>(i)] != 0) rows.row(next++) = m.row(i);
}

/// linear_weight_gradient over the marked rows alone; dy_rows and x_rows are room to gather them in.
template <class S, class Exec>
void linear_weight_gradient_of_marked(ConstMatrixRef<S> dy, ConstMatrixRef<S> x, const std::vector<std::uint8_t>& marks,
                                      Index marked, Buffer<Matrix<S>>& dy_rows, Buffer<Matrix<S>>& x_rows,
                                      Matrix<S>& dw, Vector<S>& db, const Exec& executor) {
  if (marked == dy.rows()) return linear_weight_gradient<S>(dy, x, dw, db, executor);
  gather_marked_rows<S>(dy, marks, marked, dy_rows);
  gather_marked_rows<S>(x, marks, marked, x_rows);
  linear_weight_gradient<S>(dy_rows, x_rows, dw, db, executor);
}

}  // namespace detail

MOE_NAMESPACE_END
