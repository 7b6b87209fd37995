// The micro-kernel: the product that all work on panels comes down to, but for the gradients of few rows. Its
// accumulators are registers from the first step to the last, and every entry is summed in one order, that of k.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "moe/core/core.hpp"
#include "moe/kernel/chunk.hpp"
#include "moe/kernel/compiler.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// How sixteen steps of k of a tile's left operand lie: entry (i, k) at [k * Rows + i], or at [i * 16 + k], as it does
/// in a panel of weights.
enum class LeftOrder { columns, rows };

/// What a tile asks for, sixteen entries at each step: what lies some tiles behind in its left operand, a panel; what
/// lies at ahead[0], into the second-level cache; or what lies at ahead[p] of each panel, into the first-level one.
enum class Ahead { left, one_far, each_near };

template <class S>
struct TileShape {
  using Packet = typename PacketsOf<S>::Packet;
  static constexpr int lanes = PacketsOf<S>::lanes;
  static constexpr int columns = 16;  // of a panel
  static_assert(columns % lanes == 0, "moe: packets of more than sixteen are not supported");
  static constexpr int packets = columns / lanes;  // of a panel
  static constexpr int accumulators = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS * 3 / 4;
  static constexpr int rows =
      (accumulators / packets > 12) ? 12 : (accumulators >= packets ? accumulators / packets : 1);

  static constexpr int most_panels = 8;
  /// Panels that a tile of so many rows works on at once: a power of two, as many as there are registers for. Several
  /// keep several streams from memory under way when there are few rows.
  static constexpr Index panels(Index tile_rows) {
    Index count = 1;
    while (count < most_panels && tile_rows * packets * count * 2 <= accumulators) count *= 2;
    return count;
  }

  /// How packed rows lie: as they come, but for so few that the pointers to their panels take up the registers.
  static constexpr LeftOrder order_of_packed(Index tile_rows) {
    return panels(tile_rows) == most_panels ? LeftOrder::columns : LeftOrder::rows;
  }
};

/// c[p] (Rows, 16) = or += a (Rows, depth) b[p] (depth, 16) for each p. Each sixteen steps of k of a begin `a_stride`
/// behind those before. `ahead` are pointers to (depth, 16) entries.
/// A function of its own: inlined, its registers would spill.
template <class S, LeftOrder order, Ahead prefetch, int Rows, int Panels>
EIGEN_DONT_INLINE void multiply_tile(const S* a, Index depth, Index a_stride, const S* const* b, S* const* c,
                                     bool accumulate, const S* const* ahead) {
  using namespace Eigen::internal;  // the packet operations
  using Shape = TileShape<S>;
  using Packet = typename Shape::Packet;
  constexpr int lanes = Shape::lanes, packets = Shape::packets, width = packets * Panels;
  constexpr auto row_count = std::size_t{Rows}, row_packets = std::size_t{width}, panel_count = std::size_t{Panels};
  constexpr std::uintptr_t line = 64, step = 16 * sizeof(S), steps_behind_left = 48;  // 24 is as good, 96 too far
  constexpr int asked = prefetch == Ahead::left ? 0 : prefetch == Ahead::one_far ? 1 : Panels;
  const S *right[panel_count], *next[panel_count];  // copies, which no store to the sums can change
  S* to[panel_count];
  MOE_DETAIL_UNROLL
  for (int p = 0; p < Panels; ++p) right[p] = b[p], to[p] = c[p], next[p] = p < asked ? ahead[p] : nullptr;
  Packet sum[row_count][row_packets];
  MOE_DETAIL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < width; ++j) sum[i][j] = pset1<Packet>(S(0));
  }
  if (accumulate) {
    MOE_DETAIL_UNROLL
    for (int i = 0; i < Rows; ++i) {
      MOE_DETAIL_UNROLL
      for (int j = 0; j < width; ++j) sum[i][j] = ploadu<Packet>(to[j / packets] + i * 16 + j % packets * lanes);
    }
  }
  for (Index begin = 0, steps = depth; begin < depth; begin += steps, a += a_stride) {
    if constexpr (order == LeftOrder::rows) steps = (std::min)(Index{16}, depth - begin);
    for (Index k = 0; k < steps; ++k) {
      for (std::uintptr_t i = 0; i < step; i += line) {
        const std::uintptr_t bytes = static_cast<std::uintptr_t>(k) * step + i;
        if constexpr (prefetch == Ahead::left) MOE_DETAIL_PREFETCH(a, bytes + steps_behind_left * step);
        if constexpr (prefetch == Ahead::one_far) MOE_DETAIL_PREFETCH_FAR(next[0], bytes);
        if constexpr (prefetch == Ahead::each_near) {
          MOE_DETAIL_UNROLL
          for (int p = 0; p < Panels; ++p) MOE_DETAIL_PREFETCH(next[p], bytes);
        }
      }
      Packet row[row_packets];
      MOE_DETAIL_UNROLL
      for (int j = 0; j < width; ++j) {
        row[j] = ploadu<Packet>(right[j / packets] + k * 16 + j % packets * lanes);
        if constexpr (lanes > 1) MOE_DETAIL_PIN(row[j]);
      }
      MOE_DETAIL_UNROLL
      for (int i = 0; i < Rows; ++i) {
        const Packet entry = pset1<Packet>(a[order == LeftOrder::columns ? k * Rows + i : i * 16 + k]);
        MOE_DETAIL_UNROLL
        for (int j = 0; j < width; ++j) sum[i][j] = pmadd(entry, row[j], sum[i][j]);
      }
    }
    MOE_DETAIL_UNROLL
    for (int p = 0; p < Panels; ++p) right[p] += steps * 16;
    MOE_DETAIL_UNROLL
    for (int p = 0; p < asked; ++p) next[p] += steps * 16;
  }
  MOE_DETAIL_UNROLL
  for (int i = 0; i < Rows; ++i) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < width; ++j) pstoreu(to[j / packets] + i * 16 + j % packets * lanes, sum[i][j]);
  }
}

/// Calls f(std::integral_constant<int, count>()) if 1 <= count <= most, and tells whether it did.
template <int most, class F>
bool as_constant(Index count, F&& f) {
  return [&]<int... i>(std::integer_sequence<int, i...>) {
    return ((count == i + 1 && (f(std::integral_constant<int, i + 1>()), true)) || ...);
  }
  (std::make_integer_sequence<int, most>());
}

/// Of packed rows, as many as `rows` (1 to TileShape::rows); as many panels as TileShape::panels(rows). `each_near`:
/// what each panel goes on with is asked for, not ahead[0] alone; it takes effect for the order of rows.
template <class S, LeftOrder order>
void multiply_packed_tile(Index rows, const S* a, Index depth, const S* const* b, S* const* c, bool accumulate,
                          bool each_near, const S* const* ahead) {
  as_constant<TileShape<S>::rows>(rows, [&]<int Rows>(std::integral_constant<int, Rows>) {
    constexpr int panels = static_cast<int>(TileShape<S>::panels(Rows));
    constexpr LeftOrder own = order == LeftOrder::rows ? TileShape<S>::order_of_packed(Rows) : order;
    constexpr Ahead asking = own == LeftOrder::rows ? Ahead::each_near : Ahead::one_far;
    if (each_near)
      multiply_tile<S, own, asking, Rows, panels>(a, depth, Rows * 16, b, c, accumulate, ahead);
    else
      multiply_tile<S, own, Ahead::one_far, Rows, panels>(a, depth, Rows * 16, b, c, accumulate, ahead);
  });
}

/// sums[block] (TileShape::rows, 16) += a (rows, 16 of each of `panels` panels) b[block] for each block of sixteen
/// tokens; b's blocks are `b_stride` apart, the panels of a `a_stride`.
template <class S>
void multiply_panel_tiles(const S* a, Index panels, Index a_stride, Index blocks, const S* b, Index b_stride, S* sums) {
  constexpr int rows = TileShape<S>::rows, at_once = static_cast<int>(TileShape<S>::panels(rows));
  const auto multiply = [&]<int Blocks>(std::integral_constant<int, Blocks>, Index block) {
    const S* operand[std::size_t{Blocks}];
    S* sum[std::size_t{Blocks}];
    for (int i = 0; i < Blocks; ++i) operand[i] = b + (block + i) * b_stride, sum[i] = sums + (block + i) * rows * 16;
    multiply_tile<S, LeftOrder::rows, Ahead::left, rows, Blocks>(a, panels * 16, a_stride, operand, sum, true, nullptr);
  };
  Index block = 0;
  for (; block + at_once <= blocks; block += at_once) multiply(std::integral_constant<int, at_once>{}, block);
  for (; block < blocks; ++block) multiply(std::integral_constant<int, 1>{}, block);
}

}  // namespace detail

MOE_NAMESPACE_END
