// The three products of a linear map y = x w' + b, with x (n, in), w (out, in), b (out) or empty, and y (n, out), of a
// plain matrix w: its pieces are packed at every call. Experts' weights lie in panels
// and need no packing (panels_forward.hpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor_ref.hpp"
#include "moe/kernel/gemm.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index linear_task_rows = 192, linear_task_columns = 64;
inline constexpr Index linear_task_products = Index{1} << 18;  // fewer products than these are not worth a second task

/// Throws std::invalid_argument unless the shapes are those above: the products would leave the memory otherwise.
template <class S>
void require_linear(View<const S> x, const Matrix<S>& w, const Vector<S>& b, View<const S> y) {
  require(
      x.rows() == y.rows() && x.cols() == w.cols() && y.cols() == w.rows() && (b.size() == 0 || b.size() == w.rows()),
      "linear map: inputs of ", x.rows(), " x ", x.cols(), ", a weight of ", w.rows(), " x ", w.cols(), ", a bias of ",
      b.size(), " and outputs of ", y.rows(), " x ", y.cols(), " do not fit together");
}

/// Outputs first, ..., first + y.cols() - 1 of y = x w' + b.
template <class S>
void linear_outputs(View<const S> x, const Matrix<S>& w, const Vector<S>& b, View<S> y, Index first) {
  gemm<S>(x.rows(), y.cols(), w.cols(), {x.data(), x.outerStride(), 1},
          {w.data() + first * w.outerStride(), 1, w.outerStride()}, y.data(), y.outerStride(), false);
  if (b.size() > 0)
    for (Index i = 0; i < y.rows(); ++i)
      for (Index j = 0; j < y.cols(); ++j) y(i, j) += b[first + j];
}

/// y = x w' + b; tasks over blocks of rows, or, if there is but one, of outputs.
template <class S>
void linear_forward(View<const S> x, const Matrix<S>& w, const Vector<S>& b, View<S> y, ExecutorRef executor) {
  require_linear<S>(x, w, b, y);
  if (y.rows() == 0 || y.cols() == 0) return;
  const bool cuts_rows = x.rows() > linear_task_rows, one_task = x.rows() * w.size() < linear_task_products;
  const Index tasks = one_task ? 1 : (std::min)(executor.threads_at_work(), w.rows()),
              task_columns = whole_chunks((w.rows() + tasks - 1) / tasks);
  parallel_blocks(executor, cuts_rows ? x.rows() : w.rows(), cuts_rows ? linear_task_rows : task_columns,
                  [&](Index begin, Index count) {
                    if (cuts_rows)
                      linear_outputs<S>(x.block(begin, 0, count, x.cols()), w, b, y.block(begin, 0, count, y.cols()),
                                        0);
                    else
                      linear_outputs<S>(x, w, b, y.block(0, begin, y.rows(), count), begin);
                  });
}

/// dx = dy w, or dx += dy w; tasks over blocks of rows.
template <class S>
void linear_input_gradient(View<const S> dy, const Matrix<S>& w, View<S> dx, bool accumulate, ExecutorRef executor) {
  require_linear<S>(dx, w, Vector<S>(), dy);
  parallel_blocks(executor, dy.rows(), linear_task_rows, [&](Index begin, Index count) {
    gemm<S>(count, w.cols(), w.rows(), {dy.row(begin), dy.outerStride(), 1}, {w.data(), w.outerStride(), 1},
            dx.row(begin), dx.outerStride(), accumulate);
  });
}

/// dw += dy' x and db += the sum of dy's rows; tasks over blocks of columns of dw.
template <class S>
void linear_weight_gradient(View<const S> dy, View<const S> x, Matrix<S>& dw, Vector<S>& db, ExecutorRef executor) {
  require_linear<S>(x, dw, db, dy);
  if (dy.rows() == 0) return;
  parallel_blocks(executor, x.cols(), linear_task_columns, [&](Index begin, Index count) {
    add_product_of_rows<S>(dy, x.block(0, begin, x.rows(), count), {dw.data() + begin, dw.rows(), count, dw.cols()});
  });
  if (db.size() > 0) add_column_sums<S>(dy, db.data());
}

/// Copies the rows of `m` whose mark is not 0 into `rows`, in order: sums over rows then do not see the others at all.
template <class S>
void gather_marked_rows(View<const S> m, const std::vector<std::uint8_t>& marks, Index marked,
                        Buffer<Matrix<S>>& rows) {
  require(static_cast<Index>(marks.size()) == m.rows() &&
              marked == m.rows() - std::count(marks.begin(), marks.end(), std::uint8_t{0}),
          "padding: a mask of ", marks.size(), " entries, ", marked, " of them tokens, does not fit ", m.rows(),
          " rows");
  rows.resize(marked, m.cols());
  Index next = 0;
  for (Index i = 0; i < m.rows(); ++i)
    if (marks[static_cast<std::size_t>(i)] != 0) std::copy_n(m.row(i), m.cols(), rows.data() + next++ * m.cols());
}

/// linear_weight_gradient over the marked rows alone; they are gathered into dy_rows and x_rows.
template <class S>
void linear_weight_gradient_of_marked(View<const S> dy, View<const S> x, const std::vector<std::uint8_t>& marks,
                                      Index marked, Buffer<Matrix<S>>& dy_rows, Buffer<Matrix<S>>& x_rows,
                                      Matrix<S>& dw, Vector<S>& db, ExecutorRef executor) {
  if (marked == dy.rows()) return linear_weight_gradient<S>(dy, x, dw, db, executor);
  gather_marked_rows<S>(dy, marks, marked, dy_rows);
  gather_marked_rows<S>(x, marks, marked, x_rows);
  linear_weight_gradient<S>(dy_rows, x_rows, dw, db, executor);
}

}  // namespace detail

MOE_NAMESPACE_END
