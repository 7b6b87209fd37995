// Operands of the micro-kernel, copied into the order in which it reads them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "moe/core/core.hpp"
#include "moe/kernel/chunk.hpp"
#include "moe/kernel/compiler.hpp"
#include "moe/kernel/tile.hpp"

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

/// out[k * 16 + i] = rows[i * stride + k] for i < count (1 to 16) and k < depth; anything for the other i.
template <class S>
void transpose_rows(const S* rows, Index stride, Index count, Index depth, S* out) {
  using namespace Eigen::internal;  // the packet operations
  using Square = SquareOfPackets<S>;
  constexpr int lanes = Square::lanes;
  const Index whole = lanes > 1 && count > lanes / 4 ? depth / lanes * lanes : 0;  // few are sooner written one by one
  if constexpr (lanes > 1)
    for (Index k = 0; k < whole; k += lanes)
      for (Index i0 = 0; i0 < count; i0 += lanes) {
        typename Square::Rows block;
        MOE_DETAIL_UNROLL
        for (int i = 0; i < lanes; ++i)
          block.packet[i] = ploadu<typename Square::Packet>(rows + (std::min)(i0 + i, count - 1) * stride + k);
        ptranspose(block);
        MOE_DETAIL_UNROLL
        for (int j = 0; j < lanes; ++j) pstoreu(out + (k + j) * 16 + i0, block.packet[j]);
      }
  for (Index k = whole; k < depth; ++k)
    for (Index i = 0; i < count; ++i) out[k * 16 + i] = rows[i * stride + k];
}

/// A number of steps of k, with those that it takes to fill the last sixteen.
inline Index whole_chunks(Index depth) { return (depth + chunk_size - 1) / chunk_size * chunk_size; }

/// packed[k / 16][i][k % 16] = rows(i, k), or packed[k][i], as TileShape::order_of_packed says, tile after tile, each
/// of whole chunks of k.
template <class S>
void pack_rows(ConstMatrixRef<S> rows, const EvenParts& tiles, S* packed) {
  for (Index t = 0; t < tiles.count(); packed += tiles.size(t++) * whole_chunks(rows.cols()))
    for (Index i = 0, count = tiles.size(t); i < count; ++i) {
      const S* const row = rows.data() + (tiles.begin(t) + i) * rows.outerStride();
      if (TileShape<S>::order_of_packed(count) == LeftOrder::columns) {
        for (Index k = 0; k < rows.cols(); ++k) packed[k * count + i] = row[k];
        continue;
      }
      for_each_chunk(rows.cols(), [&](Index k, Index width) {
        MOE_DETAIL_PREFETCH(row, static_cast<std::uintptr_t>(rows.outerStride() + k) * sizeof(S));  // of the next row
        store_chunk<S>(load_chunk(row + k, width, S(0)), packed + k * count + i * chunk_size, chunk_size);
      });
    }
}

/// packed[k][i] = columns(k, i), tile after tile, of at most 16 columns and whole chunks of k. Whole chunks are
/// written, whose ends the next row mends. Sixteen rows at a time: tiles lie so far apart in `packed` that a row's
/// parts would drive each other out of the first-level cache.
template <class S>
void pack_columns(ConstMatrixRef<S> columns, const EvenParts& tiles, S* packed) {
  const Index depth = columns.rows(), padded = whole_chunks(depth);
  for_each_chunk(depth, [&](Index first, Index steps) {
    for (Index t = 0; t < tiles.count(); ++t) {
      const Index begin = tiles.begin(t), size = tiles.size(t);
      const S* row = columns.data() + first * columns.outerStride() + begin;
      for (Index k = first; k < first + steps; ++k, row += columns.outerStride()) {
        const auto chunk = load_chunk(row, (std::min)(Index{chunk_size}, columns.cols() - begin), S(0));
        const bool has_room = (padded - k) * size >= chunk_size;  // before the next tile, part of which is written
        store_chunk<S>(chunk, packed + begin * padded + k * size, has_room ? Index{chunk_size} : size);
      }
    }
  });
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
  const Index depth = whole_chunks(rows.cols());
  if (rows.rows() < 16 || rows.cols() < depth) std::fill_n(panel, 16 * depth, S(0));
  transpose_rows(rows.data(), rows.outerStride(), rows.rows(), rows.cols(), panel);
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
