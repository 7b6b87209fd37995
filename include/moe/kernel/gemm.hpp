// One matrix product for every use: c (m, n) = a (m, k) b (k, n), from operands given by strides. A panel of b, two
// packets wide, is packed; tiles of six rows of a run over it. Every element is summed over k in one order, fixed by k
// alone, so its bits depend neither on the other rows and columns nor on how the work is cut into tasks.
#pragma once

#include <algorithm>
#include <utility>

#include "moe/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A matrix to read: element (i, j) lies at data[i * row_stride + j * column_stride].
template <class S>
struct Strided {
  const S* data;
  Index row_stride, column_stride;

  const S* at(Index row, Index column) const { return data + row * row_stride + column * column_stride; }
};

template <class S>
struct GemmShape {
  using Packet = typename Eigen::internal::packet_traits<S>::type;
  static constexpr Index lanes = Eigen::internal::unpacket_traits<Packet>::size;
  static constexpr Index columns = 2 * lanes;  // of a panel
  static constexpr int rows = 6;               // of a tile: 12 accumulators and 3 operands fill 16 registers
  static constexpr Index depth = 256;          // of a panel: it stays in the first-level cache
  static constexpr Index block = 384;          // rows of a that stay in the second-level cache
};

/// panel[k][0 .. columns - 1] = b(k, 0 .. count - 1), then zeros.
template <class S>
void pack_panel(Strided<S> b, Index depth, Index count, S* panel) {
  constexpr Index columns = GemmShape<S>::columns;
  if (count < columns) std::fill(panel, panel + depth * columns, S(0));
  if (b.column_stride == 1) {
    for (Index k = 0; k < depth; ++k) std::copy_n(b.at(k, 0), count, panel + k * columns);
  } else {
    for (Index j = 0; j < count; ++j)
      for (Index k = 0; k < depth; ++k) panel[k * columns + j] = *b.at(k, j);
  }
}

/// tile (sizeof...(Row) rows of one panel's width) = a * panel. The rows are unrolled by the pack, so that every
/// accumulator is a register; a function of its own, so that inlining cannot make it spill.
template <class S, int... Row>
EIGEN_DONT_INLINE void multiply_tile(std::integer_sequence<int, Row...>, Strided<S> a, Index depth, const S* panel,
                                     S* tile) {
  using namespace Eigen::internal;  // the packet operations
  using Packet = typename GemmShape<S>::Packet;
  constexpr Index lanes = GemmShape<S>::lanes, columns = GemmShape<S>::columns;
  Packet left[] = {(static_cast<void>(Row), pset1<Packet>(S(0)))...};
  Packet right[] = {(static_cast<void>(Row), pset1<Packet>(S(0)))...};
  for (Index k = 0; k < depth; ++k) {
    const S* a_k = a.data + k * a.column_stride;
    const Packet b_left = pload<Packet>(panel + k * columns), b_right = pload<Packet>(panel + k * columns + lanes);
    const auto add = [&](Index row) {
      const Packet a_ik = pset1<Packet>(a_k[row * a.row_stride]);
      left[row] = pmadd(a_ik, b_left, left[row]);
      right[row] = pmadd(a_ik, b_right, right[row]);
    };
    (add(Row), ...);
  }
  ((pstore(tile + Row * columns, left[Row]), pstore(tile + Row * columns + lanes, right[Row])), ...);
}

template <class S>
void multiply_tile(Index rows, Strided<S> a, Index depth, const S* panel, S* tile) {
  switch (rows) {
    case 1:
      return multiply_tile<S>(std::make_integer_sequence<int, 1>{}, a, depth, panel, tile);
    case 2:
      return multiply_tile<S>(std::make_integer_sequence<int, 2>{}, a, depth, panel, tile);
    case 3:
      return multiply_tile<S>(std::make_integer_sequence<int, 3>{}, a, depth, panel, tile);
    case 4:
      return multiply_tile<S>(std::make_integer_sequence<int, 4>{}, a, depth, panel, tile);
    case 5:
      return multiply_tile<S>(std::make_integer_sequence<int, 5>{}, a, depth, panel, tile);
    default:
      return multiply_tile<S>(std::make_integer_sequence<int, 6>{}, a, depth, panel, tile);
  }
}

/// c = a b, or c += a b. c's rows are `row_stride` apart, its columns side by side.
template <class S>
void gemm(Index rows, Index columns, Index depth, Strided<S> a, Strided<S> b, S* c, Index row_stride, bool accumulate) {
  using Shape = GemmShape<S>;
  alignas(64) S panel[Shape::depth * Shape::columns];
  alignas(64) S tile[Shape::rows * Shape::columns];
  if (depth == 0 && !accumulate)
    for (Index i = 0; i < rows; ++i) std::fill_n(c + i * row_stride, columns, S(0));
  for (Index i0 = 0; i0 < rows; i0 += Shape::block)
    for (Index k0 = 0; k0 < depth; k0 += Shape::depth)
      for (Index j0 = 0; j0 < columns; j0 += Shape::columns) {
        const Index k_count = (std::min)(Shape::depth, depth - k0);
        const Index j_count = (std::min)(Shape::columns, columns - j0);
        const Index i_end = (std::min)(rows, i0 + Shape::block);
        pack_panel<S>({b.at(k0, j0), b.row_stride, b.column_stride}, k_count, j_count, panel);
        for (Index i = i0; i < i_end; i += Shape::rows) {
          const Index i_count = (std::min)(Index{Shape::rows}, i_end - i);
          multiply_tile<S>(i_count, {a.at(i, k0), a.row_stride, a.column_stride}, k_count, panel, tile);
          const bool add = accumulate || k0 > 0;
          for (Index r = 0; r < i_count; ++r) {
            S* out = c + (i + r) * row_stride + j0;
            const S* in = tile + r * Shape::columns;
            if (add)
              for (Index j = 0; j < j_count; ++j) out[j] += in[j];
            else
              std::copy_n(in, j_count, out);
          }
        }
      }
}

}  // namespace detail

MOE_NAMESPACE_END
