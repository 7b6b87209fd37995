// Goes from tile to tile: the product of packed rows with panels, from one cache to the next.
#pragma once

#include <algorithm>
#include <cstddef>

#include "moe/core/core.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/tile.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index longest_sum = 1536;  // of one part of k
inline constexpr Index tiles_ahead = 4;     // whose sums are asked for

/// Rows of so many entries that are packed together: they stay in the second-level cache, half a megabyte of floats.
/// The more there are, the less often the panels are read again.
inline Index rows_at_once(Index entries) {
  return (std::max)(Index{48}, (Index{1} << 17) / (whole_chunks(entries) + 1));
}

/// Steps of k, a multiple of 16, that few tiles take before it is the next one's turn: what `panels` panels at once
/// read and ask for in that time stays in the first-level cache.
inline Index steps_of_turn(Index panels) { return (std::max)(Index{32}, 128 / panels); }

/// The product of all tiles of packed rows (t), each of whole chunks of k, with panels first, ..., last - 1 of the
/// right operand (p), panels in the outer loop: `right(p)` are the panel's entries; `begin(t, p, room)` is where the
/// sums go, `room`, or, if `accumulate`, memory of the caller's that they are added to; `end(t, p, sums)` is told of
/// `together` panels (1, 2, 4 or 8) from p on when theirs are done.
template <class S, LeftOrder order, class Right, class Begin, class End>
void multiply_tiles(const S* packed, const EvenParts& tiles, Index depth, Index first, Index last, Index together,
                    bool accumulate, Right&& right, Begin&& begin, End&& end) {
  using Shape = TileShape<S>;
  constexpr auto most_panels = std::size_t{Shape::most_panels};
  alignas(64) S rooms[most_panels][Shape::rows * 16] = {};
  const S *operand[most_panels], *next[most_panels];
  S* sums[most_panels];
  // As the smallest tile works on at once: a multiple of the others'.
  const Index group = (std::max)(together, Shape::panels(tiles.total() / tiles.count()));
  // Few rows would wait for the panels to come from memory. Their tiles take turns, and ask in each for what is read in
  // the next one. More rows take all steps, and the first tiles ask for the next panels (25 to 48 rows of floats in
  // turns: Zen 5 has 0.9 to 0.97 of the speed, Sapphire Rapids 1.00 to 1.03). So does a tile that reads eight panels at
  // once: eight are streams enough, and turns break them where processors follow streams by themselves (one to three
  // rows: 0.8 to 0.9, and 1.01 to 1.06).
  const bool in_turns =
      !accumulate && tiles.total() <= 24 && group < Shape::most_panels && tiles.count() * group <= Shape::most_panels;
  const Index padded = whole_chunks(depth);
  const EvenParts turns{padded / 16, in_turns ? steps_of_turn(group) / 16 : padded / 16 + 1};
  const bool alone = in_turns && tiles.count() == 1;
  for (Index p0 = first; p0 < last; p0 += group) {
    for (Index turn = 0; turn < turns.count(); ++turn) {
      const Index k = turns.begin(turn) * 16, steps = (std::min)(turns.size(turn) * 16, depth - k);
      const bool first_turn = turn == 0, last_turn = turn + 1 == turns.count();
      for (Index i = 0; i < group; ++i) {  // beyond the last panel, it is computed again, for nobody
        operand[i] = right((std::min)(p0 + i, last - 1)) + k * 16;
        next[i] = last_turn ? right((std::min)(p0 + group + i, last - 1)) : operand[i] + steps * 16;
      }
      const S* a = packed;
      for (Index t = 0, row = 0; t < tiles.count(); ++t) {
        const Index end_row = tiles.begin(t + 1), rows = end_row - row, at_once = Shape::panels(rows);
        const Index own = in_turns ? t * group : 0;  // the first of the tile's sums
        if (first_turn)
          for (Index i = 0; i < group; ++i)
            sums[own + i] = p0 + i < last ? begin(t, p0 + i, rooms[own + i]) : rooms[own + i];
        for (Index i = 0; i < group && p0 + i < last; i += at_once) {
          const S* asked = t < group ? next[t] : operand[i];  // the latter is near: there is nothing to ask for
          const Index j = own + i + t % at_once;
          // Sums in the caller's memory, of the tiles some way behind: with few steps the next one's come too late.
          if (accumulate && t >= group && sums[j] != rooms[j] && row + tiles_ahead * rows + depth <= tiles.total())
            asked = sums[j] + tiles_ahead * rows * 16;
          multiply_packed_tile<S, order>(rows, a + k * rows, steps, operand + i, sums + own + i,
                                         accumulate || !first_turn, alone, alone ? next + i : &asked);
        }
        if (last_turn)
          for (Index i = 0; i < group && p0 + i < last; i += together) end(t, p0 + i, sums + own + i);
        a += rows * padded, row = end_row;
      }
    }
  }
}

}  // namespace detail

MOE_NAMESPACE_END
