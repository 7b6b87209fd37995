// One tile of a product: a few rows times a few panels. Its sums stay in registers from the first step to the last, and
// every sum is added up in one order, that of k. All products on panels come down to it, except the gradients of few
// rows (lanes.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/core/packet.hpp"
#include "moe/kernel/compiler.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// How panel_width steps of k of a tile's left operand lie: entry (i, k) at [k * rows + i] (columns), or at
/// [i * panel_width + k] (rows), as it does in a panel of weights.
enum class LeftOrder { columns, rows };

/// What a tile prefetches: panel_width entries at each step of k, or, if its steps are unrolled, so many lines at each
/// panel_width of them.
enum class Ahead {
  left,  ///< What lies three times panel_width steps of k further on in its left operand, into the first-level cache.
  one_far,   ///< What lies at ahead[0], into the second-level cache.
  each_near  ///< What lies at ahead[p] of each panel p, into the first-level cache.
};

/// What a tile does with the sums that are there: writes over them, goes on from them (so that a sum in several turns
/// has the order of one turn), or adds its own to them, so that each of them is short.
enum class Sums { set, go_on, add };

template <class S>
struct TileShape : PacketsOf<S> {
  using PacketsOf<S>::packets;
  static constexpr int registers = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS * 3 / 4;  ///< That hold sums.
  static constexpr int rows = (std::min)(12, (std::max)(1, registers / packets));   ///< Of the largest tile.

  /// Whether a tile of so many panels has its steps of k unrolled: where there are few registers, a step has so few
  /// multiply-adds that what else is done at each step would take as long.
  static constexpr bool unrolls(Index tile_panels) { return registers <= 12 && tile_panels == 1; }

  static constexpr int most_panels = 8;
  /// Panels that a tile of so many rows works on at once: a power of two, as many as there are registers for. Several
  /// panels keep several streams from memory under way when there are few rows.
  static constexpr int panels(Index tile_rows) {
    int count = 1;
    while (count < most_panels && tile_rows * packets * count * 2 <= registers) count *= 2;
    return count;
  }

  /// How packed rows lie: by columns where a tile has so few rows, and so many panels, that the pointers to the panels
  /// take up the registers.
  static constexpr LeftOrder order_of_packed(Index tile_rows) {
    return panels(tile_rows) == most_panels ? LeftOrder::columns : LeftOrder::rows;
  }
};

/// One step of k of the tile below: sum += a(:, k) b(k, :).
template <class S, LeftOrder order, int Rows, int Panels>
EIGEN_ALWAYS_INLINE void add_step(
    const S* a, const S* const (&right)[std::size_t{Panels}], Index k,
    typename TileShape<S>::Packet (&sum)[std::size_t{Rows}][std::size_t{TileShape<S>::packets * Panels}]) {
  using namespace Eigen::internal;  // the packet operations
  using Packet = typename TileShape<S>::Packet;
  constexpr int lanes = TileShape<S>::lanes, packets = TileShape<S>::packets, width = packets * Panels;
  Packet row[std::size_t{width}];
  MOE_DETAIL_UNROLL
  for (int j = 0; j < width; ++j) {
    row[j] = ploadu<Packet>(right[j / packets] + k * panel_width + j % packets * lanes);
    if constexpr (lanes > 1) MOE_DETAIL_PIN(row[j]);
  }
  MOE_DETAIL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    const Packet entry = pset1<Packet>(a[order == LeftOrder::columns ? k * Rows + i : i * panel_width + k]);
    MOE_DETAIL_UNROLL
    for (int j = 0; j < width; ++j) sum[i][j] = pmadd(entry, row[j], sum[i][j]);
  }
}

/// c[p] (Rows, panel_width) = (or as `sums` says) a (Rows, depth) b[p] (depth, panel_width) for each panel p. Every
/// panel_width steps of k of `a` begin `a_stride` after those before. `ahead` points to (depth, panel_width) entries; a
/// tile that unrolls prefetches `lines` of cache from ahead[0] on at each panel_width steps. What is prefetched is no
/// template argument: so every tile is compiled once. Never inlined: among other code, its registers would be spilled.
template <class S, LeftOrder order, int Rows, int Panels>
EIGEN_DONT_INLINE void multiply_tile(const S* a, Index depth, Index a_stride, const S* const* b, S* const* c, Sums sums,
                                     Ahead prefetch, const S* const* ahead, [[maybe_unused]] std::uintptr_t lines) {
  using namespace Eigen::internal;  // the packet operations
  using Packet = typename TileShape<S>::Packet;
  constexpr int lanes = TileShape<S>::lanes, packets = TileShape<S>::packets, width = packets * Panels;
  constexpr auto row_count = std::size_t{Rows}, row_packets = std::size_t{width}, panel_count = std::size_t{Panels};
  constexpr std::uintptr_t line = 64, step = panel_width * sizeof(S), steps_ahead_left = 3 * panel_width;
  constexpr int near_panels = order == LeftOrder::rows ? Panels : 0;  // of few rows and many panels, one_far alone
  const S *right[panel_count], *next[panel_count];                    // copies, which no store to the sums can change
  S* to[panel_count];
  MOE_DETAIL_UNROLL
  for (int p = 0; p < Panels; ++p) right[p] = b[p], to[p] = c[p];
  MOE_DETAIL_UNROLL
  for (int p = 0; p < Panels; ++p) next[p] = prefetch == Ahead::each_near ? ahead[p] : ahead[0];
  Packet sum[row_count][row_packets];
  MOE_DETAIL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < width; ++j) sum[i][j] = pset1<Packet>(S(0));
  }
  if (sums == Sums::go_on) {
    MOE_DETAIL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      MOE_DETAIL_UNROLL
      for (int j = 0; j < width; ++j)
        sum[i][j] = ploadu<Packet>(to[j / packets] + i * panel_width + j % packets * lanes);
    }
  }
  if constexpr (TileShape<S>::unrolls(Panels)) {
    constexpr Index unrolled = 4;
    if constexpr (order == LeftOrder::columns) a_stride = Rows * panel_width;
    std::uintptr_t bytes = prefetch == Ahead::left ? steps_ahead_left * step : 0;
    const std::uintptr_t apart =
        prefetch == Ahead::left ? static_cast<std::uintptr_t>(a_stride) * sizeof(S) : lines * line;
    const S* const coming = prefetch == Ahead::left ? a : next[0];
    for (Index begin = 0; begin < depth; begin += panel_width, a += a_stride, bytes += apart) {
      for (std::uintptr_t i = 0; i < lines * line; i += line)
        if (prefetch == Ahead::one_far)
          MOE_DETAIL_PREFETCH_FAR(coming, bytes + i);
        else
          MOE_DETAIL_PREFETCH(coming, bytes + i);
      Index k = 0;
      if (depth - begin >= panel_width) {
        MOE_DETAIL_ROLLED
        for (; k < panel_width; k += unrolled) {
          MOE_DETAIL_UNROLL
          for (Index i = 0; i < unrolled; ++i) add_step<S, order, Rows, Panels>(a, right, k + i, sum);
        }
      } else {
        MOE_DETAIL_ROLLED
        for (; k < depth - begin; ++k) add_step<S, order, Rows, Panels>(a, right, k, sum);
      }
      right[0] += k * panel_width;
    }
  } else {
    for (Index begin = 0, steps = depth; begin < depth; begin += steps, a += a_stride) {
      if constexpr (order == LeftOrder::rows) steps = (std::min)(panel_width, depth - begin);
      for (Index k = 0; k < steps; ++k) {
        for (std::uintptr_t i = 0; i < step; i += line) {
          const std::uintptr_t bytes = static_cast<std::uintptr_t>(k) * step + i;
          if (near_panels == 0 || prefetch == Ahead::one_far) {
            MOE_DETAIL_PREFETCH_FAR(next[0], bytes);
          } else if (prefetch == Ahead::left) {
            MOE_DETAIL_PREFETCH(a, bytes + steps_ahead_left * step);
          } else {
            MOE_DETAIL_UNROLL
            for (int p = 0; p < near_panels; ++p) MOE_DETAIL_PREFETCH(next[p], bytes);
          }
        }
        add_step<S, order, Rows, Panels>(a, right, k, sum);
      }
      MOE_DETAIL_UNROLL
      for (int p = 0; p < Panels; ++p) right[p] += steps * panel_width, next[p] += steps * panel_width;
    }
  }
  if (sums == Sums::add) {
    MOE_DETAIL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      MOE_DETAIL_UNROLL
      for (int j = 0; j < width; ++j)
        sum[i][j] = padd(ploadu<Packet>(to[j / packets] + i * panel_width + j % packets * lanes), sum[i][j]);
    }
  }
  MOE_DETAIL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < width; ++j) pstoreu(to[j / packets] + i * panel_width + j % packets * lanes, sum[i][j]);
  }
}

template <class S>
using TileFunction = void (*)(const S* a, Index depth, Index a_stride, const S* const* b, S* const* c, Sums sums,
                              Ahead prefetch, const S* const* ahead, std::uintptr_t lines);

/// The tiles of 1, 2, ... TileShape::rows rows whose left operand is packed: in order of columns, or as order_of_packed
/// says.
template <class S, LeftOrder order>
class PackedTiles {
  template <int Rows>
  static constexpr TileFunction<S> tile() {
    constexpr LeftOrder own = order == LeftOrder::rows ? TileShape<S>::order_of_packed(Rows) : order;
    return &multiply_tile<S, own, Rows, TileShape<S>::panels(Rows)>;
  }
  template <int... i>
  static constexpr auto all(std::integer_sequence<int, i...>) {
    return std::array<TileFunction<S>, sizeof...(i)>{tile<i + 1>()...};
  }

 public:
  static constexpr auto of_rows = all(std::make_integer_sequence<int, TileShape<S>::rows>());
};

/// The tile of `rows` (1 to TileShape::rows) packed rows, which works on TileShape::panels(rows) panels.
template <class S>
TileFunction<S> packed_tile(LeftOrder order, Index rows) {
  const auto i = static_cast<std::size_t>(rows - 1);
  return order == LeftOrder::columns ? PackedTiles<S, LeftOrder::columns>::of_rows[i]
                                     : PackedTiles<S, LeftOrder::rows>::of_rows[i];
}

inline constexpr Index panels_of_left = 8;  // that a tile takes as its left operand at once, at most

/// sums[block] (TileShape::rows, panel_width) += a (rows, panel_width of each of `panels` panels) b[block] for each
/// block of panel_width tokens; b's blocks are `b_stride` apart, the panels of a `a_stride`.
template <class S>
void multiply_panel_tiles(const S* a, Index panels, Index a_stride, Index blocks, const S* b, Index b_stride, S* sums) {
  using Shape = TileShape<S>;
  constexpr int rows = Shape::rows, most = Shape::panels(rows);
  constexpr Index size = rows * panel_width;
  constexpr std::uintptr_t line = 64, bytes = std::uintptr_t{size} * sizeof(S);
  std::uintptr_t lines = (bytes + line - 1) / line;
  alignas(64) S together[Shape::unrolls(most) ? panels_of_left * size : 1];
  if constexpr (Shape::unrolls(most)) {
    // Panels lie so far apart, often by a power of two, that their parts would push each other out of the first-level
    // cache before the last block has met them.
    if (blocks >= 4) {
      for (Index p = 0; p < panels; ++p, a += a_stride) {
        for (std::uintptr_t i = 0; i < lines; ++i) MOE_DETAIL_PREFETCH_FAR(a, 2 * bytes + i * line);
        for (Index i = 0; i < size; i += panel_width) Chunk<S>::load(a + i).store(together + p * size + i);
      }
      a = together, a_stride = size, lines = 0;
    }
  }
  for (Index block = 0; block < blocks;) {
    const Index at_once = block + most <= blocks ? most : 1;
    const S* operand[std::size_t{most}];
    S* sum[std::size_t{most}];
    for (Index i = 0; i < at_once; ++i, ++block)
      operand[i] = b + block * b_stride, sum[i] = sums + block * rows * panel_width;
    const auto multiply =
        at_once == most ? &multiply_tile<S, LeftOrder::rows, rows, most> : &multiply_tile<S, LeftOrder::rows, rows, 1>;
    multiply(a, panels * panel_width, a_stride, operand, sum, Sums::go_on, Ahead::left, operand,
             block == at_once ? lines : 0);
  }
}

}  // namespace detail

MOE_NAMESPACE_END
