// Operands of the micro-kernel, copied into the order in which it reads them.
#pragma once

#include <algorithm>
#include <cstddef>

#include "moe/core.hpp"
#include "moe/kernel/chunk.hpp"
#include "moe/kernel/compiler.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// 0 .. total - 1 in even parts of at most `largest`; one part at least, which may be empty.
class EvenParts {
 public:
  EvenParts(Index total, Index largest)
      : total_(total), count_((std::max)(Index{1}, (total + largest - 1) / largest)) {}

  Index total() const { return total_; }
  Index count() const { return count_; }
  Index begin(Index part) const { return total_ * part / count_; }
  Index size(Index part) const { return begin(part + 1) - begin(part); }

 private:
  Index total_, count_;
};

template <class S>
struct SquareOfPackets : PacketsOf<S> {
  using Packet = typename PacketsOf<S>::Packet;
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // those of a vector type, which Eigen's own uses ignore too
#endif
  using Rows = Eigen::internal::PacketBlock<Packet, PacketsOf<S>::lanes>;
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
};

/// out[k * out_stride + i] = rows[i * stride + k] for i < count (1 to `out_stride`) and k < depth, in ascending
/// order of k. Whole packets are written: up to 15 entries behind those of each k are lost.
template <class S>
void transpose_rows(const S* rows, Index stride, Index count, Index depth, S* out, Index out_stride) {
  using namespace Eigen::internal;  // the packet operations
  using Square = SquareOfPackets<S>;
  constexpr int lanes = Square::lanes;
  if (count == 1 && out_stride == 1) return static_cast<void>(std::copy_n(rows, depth, out));
  const Index whole = lanes > 1 && count > lanes / 4 ? depth / lanes * lanes : 0;  // few are sooner written one by one
  if constexpr (lanes > 1) {
    const Index last_group = (count - 1) / lanes * lanes;
    for (Index k = 0; k < whole; k += lanes)
      for (Index i0 = last_group; i0 >= 0; i0 -= lanes) {  // what the last group writes too much, the first one mends
        typename Square::Rows block;
        MOE_DETAIL_UNROLL
        for (int i = 0; i < lanes; ++i)
          block.packet[i] = ploadu<typename Square::Packet>(rows + (std::min)(i0 + i, count - 1) * stride + k);
        ptranspose(block);
        MOE_DETAIL_UNROLL
        for (int j = 0; j < lanes; ++j) pstoreu(out + (k + j) * out_stride + i0, block.packet[j]);
      }
  }
  for (Index k = whole; k < depth; ++k)
    for (Index i = 0; i < count; ++i) out[k * out_stride + i] = rows[i * stride + k];
}

/// packed[k][i] = rows(i, k), tile after tile.
template <class S>
void pack_rows(ConstMatrixRef<S> rows, const EvenParts& tiles, S* packed) {
  for (Index t = 0; t < tiles.count(); packed += tiles.size(t++) * rows.cols())
    transpose_rows(rows.data() + tiles.begin(t) * rows.outerStride(), rows.outerStride(), tiles.size(t), rows.cols(),
                   packed, tiles.size(t));
}

/// packed[k][i] = columns(k, i), tile after tile, of at most 16 columns. Row by row, as they lie in memory: whole
/// chunks are written, whose ends the next row mends, and up to 15 entries behind the last tile are lost.
template <class S>
void pack_columns(ConstMatrixRef<S> columns, const EvenParts& tiles, S* packed) {
  const Index depth = columns.rows();
  for (Index k = 0; k < depth; ++k) {
    const S* const row = columns.data() + k * columns.outerStride();
    for (Index t = 0, begin = 0, end = 0; t < tiles.count(); ++t, begin = end) {
      end = tiles.begin(t + 1);
      const Index size = end - begin;
      const auto chunk = load_chunk(row + begin, (std::min)(Index{chunk_size}, columns.cols() - begin), S(0));
      const bool has_room = (depth - k) * size >= chunk_size;  // before the next tile, which is written by now
      store_chunk<S>(chunk, packed + begin * depth + k * size, has_room ? Index{chunk_size} : size);
    }
  }
}

/// panel[k][j] = columns(k, j) for j < 16, zeros where there is none.
template <class S>
void pack_panel(ConstMatrixRef<S> columns, S* panel) {
  for (Index k = 0; k < columns.rows(); ++k, panel += 16)
    store_chunk<S>(load_chunk(columns.data() + k * columns.outerStride(), columns.cols(), S(0)), panel, chunk_size);
}

/// panel[k][i] = rows(i, k) for i < 16 and k up to a multiple of 16; zeros where there is no k, anything where there is
/// no row.
template <class S>
void pack_transposed(ConstMatrixRef<S> rows, S* panel) {
  const Index depth = (rows.cols() + 15) / 16 * 16;
  if (rows.rows() < 16 || rows.cols() < depth) std::fill_n(panel, 16 * depth, S(0));
  transpose_rows(rows.data(), rows.outerStride(), rows.rows(), rows.cols(), panel, Index{16});
}

/// to (count, width) = or += tile (count, 16), whose last chunk may reach beyond it.
template <class S>
void put_tile(const S* tile, Index count, Index width, S* to, Index stride, bool accumulate) {
  for (Index i = 0; i < count; ++i, tile += 16, to += stride) {
    Chunk<S> sum = load_chunk(tile, chunk_size, S(0));
    if (accumulate) sum += load_chunk(to, width, S(0));
    store_chunk<S>(sum, to, width);
  }
}

}  // namespace detail

MOE_NAMESPACE_END
