// Gradients of few rows. Tiles would not be filled by them; here each number of a panel is read once, in the order of
// memory, and meets an entry of every row while it is in a register.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/compiler.hpp"
#include "moe/kernel/tile.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Up to so many rows go lane by lane: in the gradient of the input they would not fill a tile of panel_width tokens,
/// in that of the weight a tile would be finished before the next one's sums have come from memory.
inline constexpr int rows_of_input_by_lane = 3, rows_of_weight_by_lane = 8;

/// sums[k][n][lane] += panels[p][k][lane] * rows[p][n][lane] for each panel p in turn, of panel_width lanes and
/// k < depth. Never inlined: among other code, its registers would be spilled.
template <class S, int Rows, int Panels>
EIGEN_DONT_INLINE void multiply_lanes(const S* const* panels, Index depth, const S* rows, S* sums) {
  using namespace Eigen::internal;  // the packet operations
  using Packet = typename TileShape<S>::Packet;
  constexpr int lanes = TileShape<S>::lanes, packets = TileShape<S>::packets;
  constexpr auto row_count = std::size_t{Rows}, width = std::size_t{Panels * packets};
  const S* panel[std::size_t{Panels}];
  Packet row[row_count][width];
  MOE_DETAIL_UNROLL
  for (int p = 0; p < Panels; ++p) panel[p] = panels[p];
  MOE_DETAIL_UNROLL
  for (int n = 0; n < Rows; ++n) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < Panels * packets; ++j)
      row[n][j] = ploadu<Packet>(rows + (j / packets * Rows + n) * panel_width + j % packets * lanes);
  }
  for (Index k = 0; k < depth; ++k, sums += Rows * panel_width) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < packets; ++j) {
      Packet sum[row_count];
      MOE_DETAIL_UNROLL
      for (int n = 0; n < Rows; ++n) sum[n] = ploadu<Packet>(sums + n * panel_width + j * lanes);
      MOE_DETAIL_UNROLL
      for (int p = 0; p < Panels; ++p) {
        const Packet weights = ploadu<Packet>(panel[p] + k * panel_width + j * lanes);
        MOE_DETAIL_UNROLL
        for (int n = 0; n < Rows; ++n) sum[n] = pmadd(weights, row[n][p * packets + j], sum[n]);
      }
      MOE_DETAIL_UNROLL
      for (int n = 0; n < Rows; ++n) pstoreu(sums + n * panel_width + j * lanes, sum[n]);
    }
  }
}

/// sums (depth, width) += x' dy, of `rows` rows: `dy` is the first row's `width` entries, `x` its `depth` entries.
template <class S, int rows>
EIGEN_DONT_INLINE void add_outer_products(const S* dy, Index dy_stride, const S* x, Index x_stride, Index depth,
                                          Index width, S* sums) {
  Chunk<S> dy_row[std::size_t{rows}];
  for (int n = 0; n < rows; ++n) dy_row[n] = load_chunk(dy + n * dy_stride, width, S(0));
  for (Index k = 0; k < depth; ++k, sums += width, ++x) {
    Chunk<S> sum = load_chunk(sums, width, S(0));
    MOE_DETAIL_UNROLL
    for (int n = 0; n < rows; ++n) sum += Chunk<S>(x[n * x_stride]) * dy_row[n];
    store_chunk<S>(sum, sums, width);
  }
}

/// The functions above for each number of rows, as a table.
template <class S>
struct LanesOfRows {
  using Multiply = void (*)(const S* const* panels, Index depth, const S* rows, S* sums);
  using AddOuter = void (*)(const S* dy, Index dy_stride, const S* x, Index x_stride, Index depth, Index width,
                            S* sums);

  /// Of `rows` rows, and of one panel or of TileShape::panels(rows).
  static Multiply multiply(Index rows, bool one_panel) {
    static constexpr auto table = multiply_of(std::make_integer_sequence<int, rows_of_input_by_lane>());
    return table[static_cast<std::size_t>(rows - 1)][one_panel ? 1 : 0];
  }
  static AddOuter add_outer(Index rows) {
    static constexpr auto table = add_outer_of(std::make_integer_sequence<int, rows_of_weight_by_lane>());
    return table[static_cast<std::size_t>(rows - 1)];
  }

 private:
  template <int... i>
  static constexpr auto multiply_of(std::integer_sequence<int, i...>) {
    return std::array<std::array<Multiply, 2>, sizeof...(i)>{
        {{&multiply_lanes<S, i + 1, TileShape<S>::panels(i + 1)>, &multiply_lanes<S, i + 1, 1>}...}};
  }
  template <int... i>
  static constexpr auto add_outer_of(std::integer_sequence<int, i...>) {
    return std::array<AddOuter, sizeof...(i)>{&add_outer_products<S, i + 1>...};
  }
};

}  // namespace detail

MOE_NAMESPACE_END
