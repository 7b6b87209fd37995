// The product of few rows with a weight's panels, for the gradient of a linear map's input: lane by lane, each weight
// meets an entry of every row once, so that the panels go by as fast as memory gives them.
#pragma once

#include <cstddef>

#include "moe/core/core.hpp"
#include "moe/kernel/compiler.hpp"
#include "moe/kernel/tile.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// sums[k][n][lane] += panels[p][k][lane] * rows[p][n][lane] for each panel p in turn, of sixteen lanes and k < depth.
/// A function of its own: inlined, its registers would spill.
template <class S, int Rows, int Panels>
EIGEN_DONT_INLINE void multiply_lanes(const S* const* panels, Index depth, const S* rows, S* sums) {
  using namespace Eigen::internal;  // the packet operations
  using Shape = TileShape<S>;
  using Packet = typename Shape::Packet;
  constexpr int lanes = Shape::lanes, packets = Shape::packets;
  constexpr auto row_count = std::size_t{Rows}, width = std::size_t{Panels * packets};
  const S* panel[std::size_t{Panels}];
  Packet row[row_count][width];
  MOE_DETAIL_UNROLL
  for (int p = 0; p < Panels; ++p) panel[p] = panels[p];
  MOE_DETAIL_UNROLL
  for (int n = 0; n < Rows; ++n) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < Panels * packets; ++j)
      row[n][j] = ploadu<Packet>(rows + (j / packets * Rows + n) * 16 + j % packets * lanes);
  }
  for (Index k = 0; k < depth; ++k, sums += Rows * 16) {
    MOE_DETAIL_UNROLL
    for (int j = 0; j < packets; ++j) {
      Packet sum[row_count];
      MOE_DETAIL_UNROLL
      for (int n = 0; n < Rows; ++n) sum[n] = ploadu<Packet>(sums + n * 16 + j * lanes);
      MOE_DETAIL_UNROLL
      for (int p = 0; p < Panels; ++p) {
        const Packet weights = ploadu<Packet>(panel[p] + k * 16 + j * lanes);
        MOE_DETAIL_UNROLL
        for (int n = 0; n < Rows; ++n) sum[n] = pmadd(weights, row[n][p * packets + j], sum[n]);
      }
      MOE_DETAIL_UNROLL
      for (int n = 0; n < Rows; ++n) pstoreu(sums + n * 16 + j * lanes, sum[n]);
    }
  }
}

}  // namespace detail

MOE_NAMESPACE_END
