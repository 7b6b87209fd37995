// Goes from tile to tile: the product of packed rows with panels, from one cache to the next.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "moe/core.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/tile.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index longest_sum = 1536;  // of one part of k

/// Rows of so many entries that are packed together: they stay in the second-level cache.
inline Index rows_at_once(Index entries) { return (std::max)(Index{48}, (Index{1} << 16) / (entries + 1)); }

/// The product of all tiles of packed rows (t) with panels first, ..., last - 1 of the right operand (p), panels in the
/// outer loop: `right(p)` are the panel's entries, `begin(t, p, room)` is where the sums go (`room`, or memory of the
/// caller's), where they are added if `accumulate`; `end(t, p, sums)` is told of `together` panels from p on when
/// theirs are done.
template <class S, class Right, class Begin, class End>
void multiply_tiles(const S* packed, const EvenParts& tiles, Index depth, Index first, Index last, Index together,
                    bool accumulate, Right&& right, Begin&& begin, End&& end) {
  using Shape = TileShape<S>;
  alignas(64) S rooms[Shape::most_panels][Shape::rows * 16] = {};
  std::array<const S*, Shape::most_panels> operand;
  std::array<S*, Shape::most_panels> sums;
  // As the smallest tile works on at once: a multiple of the others'.
  const Index group = (std::max)(together, Shape::panels(tiles.total / tiles.count()));
  for (Index p0 = first; p0 < last; p0 += group) {
    for (Index i = 0; i < group; ++i)  // beyond the last panel, it is computed again, for nobody
      operand[static_cast<std::size_t>(i)] = right((std::min)(p0 + i, last - 1));
    const S* a = packed;
    for (Index t = 0; t < tiles.count(); a += tiles.size(t++) * depth) {
      for (Index i = 0; i < group; ++i)
        sums[static_cast<std::size_t>(i)] = p0 + i < last ? begin(t, p0 + i, rooms[i]) : rooms[i];
      // Each tile asks for one of the next panels, while there are any, and then for the sums of the tiles behind it,
      // if they lie there in the caller's memory.
      const Index next = p0 + group + t;
      const S* ahead = operand[0];
      if (t < group && next < last) {
        ahead = right(next);
      } else if (accumulate && tiles.begin(t + 1) + depth <= tiles.total) {
        const auto i = static_cast<std::size_t>(t % group);
        if (sums[i] != rooms[i]) ahead = sums[i] + tiles.size(t) * 16;
      }
      const Index at_once = Shape::panels(tiles.size(t));
      for (Index i = 0; i < group && p0 + i < last; i += at_once)
        multiply_packed_tile<S>(tiles.size(t), a, depth, operand.data() + i, sums.data() + i, accumulate, ahead);
      for (Index i = 0; i < group && p0 + i < last; i += together) end(t, p0 + i, sums.data() + i);
    }
  }
}

}  // namespace detail

MOE_NAMESPACE_END
