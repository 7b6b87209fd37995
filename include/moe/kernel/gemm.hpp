// One matrix product for every use: c (m, n) = a (m, k) b (k, n), from operands given by strides, whose pieces are
// packed at every call. Every element is summed over k in one order, fixed by k alone, so its bits depend neither on
// the other rows and columns nor on how the work is cut into tasks.
#pragma once

#include <algorithm>

#include "moe/core/core.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/scratch.hpp"
#include "moe/kernel/tiles.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A matrix to read: element (i, j) lies at data[i * row_stride + j * column_stride]; one of the strides is 1.
template <class S>
struct Strided {
  const S* data;
  Index row_stride, column_stride;

  bool has_contiguous_rows() const { return column_stride == 1; }

  /// Rows or columns, whichever are contiguous, as the rows of a view.
  auto block(Index row, Index column, Index rows, Index columns) const {
    using View = Eigen::Map<const Matrix<S>, 0, Eigen::OuterStride<>>;
    const S* const begin = data + row * row_stride + column * column_stride;
    return has_contiguous_rows() ? View(begin, rows, columns, Eigen::OuterStride<>(row_stride))
                                 : View(begin, columns, rows, Eigen::OuterStride<>(column_stride));
  }
};

/// Panels of 16 columns: panel[k][j] = b(k, j).
template <class S>
void pack_right(Strided<S> b, Index k, Index depth, Index first, Index columns, S* panel) {
  for (Index j = 0; j < columns; j += 16, panel += 16 * depth) {
    const Index width = (std::min)(Index{16}, columns - j);
    const auto block = b.block(k, first + j, depth, width);
    if (b.has_contiguous_rows()) {
      pack_panel<S>(block, panel);
    } else {
      if (width < 16) std::fill_n(panel, 16 * depth, S(0));
      transpose_rows(block.data(), block.outerStride(), width, depth, panel);
    }
  }
}

/// gemm for a left operand whose rows, or columns, are contiguous.
template <class S, LeftOrder order>
void gemm_in_order(Index rows, Index columns, Index depth, Strided<S> a, Strided<S> b, S* c, Index row_stride,
                   bool accumulate) {
  S *const packed = Scratch<S>::mine().packed.data(), *const panels = Scratch<S>::mine().second.data();
  const EvenParts parts{depth, longest_sum}, chunks{rows, rows_at_once((std::min)(depth, longest_sum))};
  for (Index part = 0; part < parts.count(); ++part) {
    const Index k = parts.begin(part), part_depth = parts.size(part);
    const Index columns_packed = Scratch<S>::second_size / (part_depth + 1) / 16 * 16;
    for (Index chunk = 0; chunk < chunks.count(); ++chunk) {
      const EvenParts tiles{chunks.size(chunk), TileShape<S>::rows};
      const auto left = a.block(chunks.begin(chunk), k, tiles.total(), part_depth);
      if constexpr (order == LeftOrder::rows)
        pack_rows<S>(left, tiles, packed);
      else
        pack_columns<S>(left, tiles, packed);
      for (Index first = 0; first < columns; first += columns_packed) {
        const Index count = (std::min)(columns_packed, columns - first);
        pack_right<S>(b, k, part_depth, first, count, panels);
        multiply_tiles<S, order>(
            packed, tiles, part_depth, 0, (count + 15) / 16, 1, false,
            [&](Index p) { return panels + p * 16 * part_depth; }, [](Index, Index, S* room) { return room; },
            [&](Index t, Index p, S* const* sums) {
              put_tile(sums[0], tiles.size(t), (std::min)(Index{16}, count - p * 16),
                       c + (chunks.begin(chunk) + tiles.begin(t)) * row_stride + first + p * 16, row_stride,
                       accumulate || part > 0);
            });
      }
    }
  }
}

/// c = a b, or c += a b. c's rows are `row_stride` apart, its columns side by side.
template <class S>
void gemm(Index rows, Index columns, Index depth, Strided<S> a, Strided<S> b, S* c, Index row_stride, bool accumulate) {
  if (rows == 0 || columns == 0) return;
  if (a.has_contiguous_rows())
    gemm_in_order<S, LeftOrder::rows>(rows, columns, depth, a, b, c, row_stride, accumulate);
  else
    gemm_in_order<S, LeftOrder::columns>(rows, columns, depth, a, b, c, row_stride, accumulate);
}

}  // namespace detail

MOE_NAMESPACE_END
