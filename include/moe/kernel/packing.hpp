// Operands of the tiles, copied into the order in which tiles read them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "moe/core/chunk.hpp"
#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/core/packet.hpp"
#include "moe/core/rounding.hpp"
#include "moe/kernel/compiler.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/tile.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// 0 .. total - 1 in even parts of at most `largest`, the longer ones last; one part at least, which may be empty.
class EvenParts {
 public:
  EvenParts(Index total, Index largest)
      : total_(total),
        count_((std::max)(Index{1}, (total + largest - 1) / largest)),
        least_(total / count_),
        short_(count_ - total % count_) {}

  Index total() const { return total_; }
  Index count() const { return count_; }
  Index begin(Index part) const { return part * least_ + (std::max)(Index{0}, part - short_); }
  Index size(Index part) const { return begin(part + 1) - begin(part); }

 private:
  Index total_, count_;
  Index least_, short_;  // the size of so many parts; the others have one more
};

/// depth rounded up to a multiple of panel_width.
inline Index whole_chunks(Index depth) { return rounded_up(depth, panel_width); }

/// A square of packets, to be transposed in registers.
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

/// out[k * panel_width + i] = rows[i * stride + k] for i < count (1 to panel_width) and k < depth. Places of the other
/// i get values without meaning.
template <class S>
void transpose_rows(const S* rows, Index stride, Index count, Index depth, S* out) {
  using namespace Eigen::internal;  // the packet operations
  using Square = SquareOfPackets<S>;
  constexpr int lanes = Square::lanes;
  const Index whole = lanes > 1 && count > lanes / 4 ? depth / lanes * lanes : 0;  // few are faster one by one
  if constexpr (lanes > 1)
    for (Index k = 0; k < whole; k += lanes)
      for (Index i0 = 0; i0 < count; i0 += lanes) {
        typename Square::Rows block;
        MOE_DETAIL_UNROLL
        for (int i = 0; i < lanes; ++i)
          block.packet[i] = ploadu<typename Square::Packet>(rows + (std::min)(i0 + i, count - 1) * stride + k);
        ptranspose(block);
        MOE_DETAIL_UNROLL
        for (int j = 0; j < lanes; ++j) pstoreu(out + (k + j) * panel_width + i0, block.packet[j]);
      }
  for (Index k = whole; k < depth; ++k)
    for (Index i = 0; i < count; ++i) out[k * panel_width + i] = rows[i * stride + k];
}

/// Packs rows tile after tile, each of whole chunks of k: packed[k / 16][i][k % 16] = rows(i, k), or packed[k][i], as
/// TileShape::order_of_packed says.
template <class S>
void pack_rows(View<const S> rows, const EvenParts& tiles, S* packed) {
  for (Index t = 0; t < tiles.count(); packed += tiles.size(t++) * whole_chunks(rows.cols()))
    for (Index i = 0, count = tiles.size(t); i < count; ++i) {
      const S* const row = rows.row(tiles.begin(t) + i);
      if (TileShape<S>::order_of_packed(count) == LeftOrder::columns) {
        for (Index k = 0; k < rows.cols(); ++k) packed[k * count + i] = row[k];
        continue;
      }
      for_each_chunk(rows.cols(), [&](Index k, Index width) {
        MOE_DETAIL_PREFETCH(row, static_cast<std::uintptr_t>(rows.outerStride() + k) * sizeof(S));  // of the next row
        load_chunk(row + k, width, S(0)).store(packed + k * count + i * panel_width);
      });
    }
}

/// Packs columns tile after tile, each of at most panel_width columns and of whole chunks of k:
/// packed[k][i] = columns(k, i). A whole packet or chunk is written for each k, which the next k overwrites in part.
/// The outer loop takes panel_width rows at a time: tiles lie so far apart in `packed` that the parts of one row would
/// push each other out of the first-level cache.
template <class S>
void pack_columns(View<const S> columns, const EvenParts& tiles, S* packed) {
  using namespace Eigen::internal;  // the packet operations
  using Packet = typename PacketsOf<S>::Packet;
  const Index depth = columns.rows(), padded = whole_chunks(depth);
  for_each_chunk(depth, [&](Index first, Index steps) {
    for (Index t = 0; t < tiles.count(); ++t) {
      const Index begin = tiles.begin(t), size = tiles.size(t);
      const bool is_packet = size <= PacketsOf<S>::lanes;
      const Index width = is_packet ? Index{PacketsOf<S>::lanes} : panel_width;
      const bool is_inside = begin + width <= columns.cols();
      const S* row = columns.row(first) + begin;
      S* to = packed + begin * padded + first * size;
      for (Index k = first, to_end = (padded - first) * size; k < first + steps; ++k, to_end -= size) {
        if (!is_inside || to_end < width)  // beyond the end lies the next tile, part of which is written
          store_chunk<S>(load_chunk(row, size, S(0)), to, size);
        else if (is_packet)
          pstoreu(to, ploadu<Packet>(row));
        else
          Chunk<S>::load(row).store(to);
        row += columns.outerStride(), to += size;
      }
    }
  });
}

/// panel[k][j] = columns(k, j) for j < panel_width, zeros where there is no such column.
template <class S>
void pack_panel(View<const S> columns, S* panel) {
  for (Index k = 0; k < columns.rows(); ++k, panel += panel_width)
    load_chunk(columns.row(k), columns.cols(), S(0)).store(panel);
}

/// panel[k][i] = rows(i, k) for i < panel_width and k up to a multiple of it: zeros where there is no such k, values
/// without meaning where there is no such row.
template <class S>
void pack_transposed(View<const S> rows, S* panel) {
  const Index depth = whole_chunks(rows.cols());
  if (rows.rows() < panel_width || rows.cols() < depth) std::fill_n(panel, panel_width * depth, S(0));
  transpose_rows(rows.data(), rows.outerStride(), rows.rows(), rows.cols(), panel);
}

/// `to` (count, width) = or += the tile (count, panel_width) without its last columns. A whole chunk is read for every
/// row.
template <class S>
void put_tile(const S* tile, Index count, Index width, S* to, Index stride, bool accumulate) {
  for (Index i = 0; i < count; ++i, tile += panel_width, to += stride) {
    Chunk<S> sum = Chunk<S>::load(tile);
    if (accumulate) sum += load_chunk(to, width, S(0));
    store_chunk<S>(sum, to, width);
  }
}

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE void pack_rows<float>(View<const float>, const EvenParts&, float*);
MOE_DETAIL_INSTANCE void pack_columns<float>(View<const float>, const EvenParts&, float*);
MOE_DETAIL_INSTANCE void pack_rows<double>(View<const double>, const EvenParts&, double*);
MOE_DETAIL_INSTANCE void pack_columns<double>(View<const double>, const EvenParts&, double*);
#endif

}  // namespace detail

MOE_NAMESPACE_END
