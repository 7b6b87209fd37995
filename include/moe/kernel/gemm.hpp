// One matrix product for every use: c (m, n) = a (m, k) b (k, n), from operands given by strides, whose pieces are
// packed at every call. Every element is summed over k in one order, fixed by k alone, so its bits depend neither on
// the other rows and columns nor on how the work is cut into tasks.
#pragma once

#include <algorithm>

#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/scratch.hpp"
#include "moe/kernel/tiles.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A matrix to read: element (i, j) lies at data[i * row_stride + j * column_stride]; one of the strides is 1.
template <class S>
struct Strided {
  const S* data;
  Index row_stride, column_stride;

  bool has_contiguous_rows() const { return column_stride == 1; }

  /// Rows or columns, whichever are contiguous, as the rows of a view.
  View<const S> block(Index row, Index column, Index rows, Index columns) const {
    const S* const begin = data + row * row_stride + column * column_stride;
    return has_contiguous_rows() ? View<const S>(begin, rows, columns, row_stride)
                                 : View<const S>(begin, columns, rows, column_stride);
  }
};

/// Panels of b's columns: panel[k][j] = b(k, j).
template <class S>
void pack_right(const Strided<S>& b, Index k, Index depth, Index first, Index columns, S* panel) {
  for (Index j = 0; j < columns; j += panel_width, panel += panel_width * depth) {
    const Index width = (std::min)(panel_width, columns - j);
    const View<const S> block = b.block(k, first + j, depth, width);
    if (b.has_contiguous_rows()) {
      pack_panel<S>(block, panel);
    } else {
      if (width < panel_width) std::fill_n(panel, panel_width * depth, S(0));
      transpose_rows<S>(block.data(), block.outerStride(), width, depth, panel);
    }
  }
}

/// c = a b, or c += a b. c's rows are `row_stride` apart, its columns side by side.
template <class S>
void gemm(Index rows, Index columns, Index depth, const Strided<S>& a, const Strided<S>& b, S* c, Index row_stride,
          bool accumulate) {
  if (rows == 0 || columns == 0) return;
  S *const packed = Scratch<S>::mine().packed.data(), *const panels = Scratch<S>::mine().second.data();
  const EvenParts parts{depth, longest_sum}, chunks{rows, rows_at_once((std::min)(depth, longest_sum))};
  const LeftOrder order = a.has_contiguous_rows() ? LeftOrder::rows : LeftOrder::columns;
  for (Index part = 0; part < parts.count(); ++part) {
    const Index k = parts.begin(part), part_depth = parts.size(part), panel_size = panel_width * part_depth;
    const Index columns_packed = scratch_size / (part_depth + 1) / panel_width * panel_width;
    for (Index chunk = 0; chunk < chunks.count(); ++chunk) {
      const PackedRows<S> left{packed, EvenParts{chunks.size(chunk), TileShape<S>::rows}, order, part_depth};
      const View<const S> block = a.block(chunks.begin(chunk), k, left.tiles.total(), part_depth);
      if (order == LeftOrder::rows)
        pack_rows<S>(block, left.tiles, packed);
      else
        pack_columns<S>(block, left.tiles, packed);
      for (Index first = 0; first < columns; first += columns_packed) {
        const Index count = (std::min)(columns_packed, columns - first);
        pack_right<S>(b, k, part_depth, first, count, panels);
        RightPanels<S> right;
        right.runs[0] = PanelRun<S>::even_run(panels, panel_size, (count + panel_width - 1) / panel_width);
        for (TileWalk<S> walk(left, right); walk.next();)
          for (Index i = 0; i < walk.panels(); ++i) {
            const Index column = (walk.first_panel() + i) * panel_width, tile = walk.tile();
            put_tile<S>(walk.sums(i), left.tiles.size(tile), (std::min)(panel_width, count - column),
                        c + (chunks.begin(chunk) + left.tiles.begin(tile)) * row_stride + first + column, row_stride,
                        accumulate || part > 0);
          }
      }
    }
  }
}

/// c (m, n) += a' b, a (rows, m) and b (rows, n): a sum over rows, which may be very many. Those of up to longest_run
/// rows are added up by themselves, some of these in scratch, and these in c.
template <class S>
void add_product_of_rows(View<const S> a, View<const S> b, View<S> c) {
  const auto multiply = [&](Index begin, Index count, Index row, View<S> to, Index column, bool accumulate) {
    gemm<S>(to.rows(), to.cols(), count, {a.row(begin) + row, 1, a.outerStride()},
            {b.row(begin) + column, b.outerStride(), 1}, to.data(), to.outerStride(), accumulate);
  };
  const EvenParts runs{a.rows(), longest_run};
  if (runs.count() == 1) return multiply(0, a.rows(), 0, c, 0, true);
  constexpr Index most_columns = 512, most_rows = scratch_size / most_columns;
  S* const sums = Scratch<S>::mine().sums.data();
  for (Index row = 0; row < c.rows(); row += most_rows)
    for (Index column = 0; column < c.cols(); column += most_columns) {
      const Index rows = (std::min)(most_rows, c.rows() - row), columns = (std::min)(most_columns, c.cols() - column);
      for (Index run = 0; run < runs.count(); ++run) {
        multiply(runs.begin(run), runs.size(run), row, {sums, rows, columns, columns}, column,
                 run % runs_together != 0);
        if ((run + 1) % runs_together == 0 || run + 1 == runs.count())
          for (Index i = 0; i < rows; ++i)
            for (Index j = 0; j < columns; ++j) c(row + i, column + j) += sums[i * columns + j];
      }
    }
}

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE void gemm<float>(Index, Index, Index, const Strided<float>&, const Strided<float>&, float*, Index,
                                     bool);
MOE_DETAIL_INSTANCE void gemm<double>(Index, Index, Index, const Strided<double>&, const Strided<double>&, double*,
                                      Index, bool);
#endif

}  // namespace detail

MOE_NAMESPACE_END
