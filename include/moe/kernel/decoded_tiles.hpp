// Many rows times a storage that does not lie in panels: a few steps of k of a panel are decoded into the first-level
// cache, and all tiles of rows meet them there, while the bytes that are decoded next are prefetched. Every sum is
// added up in the order of k.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "moe/core/core.hpp"
#include "moe/kernel/few_rows.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/scratch.hpp"
#include "moe/kernel/tile.hpp"
#include "moe/kernel/tiles.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Numbers that are decoded at once.
inline constexpr Index decoded_at_once = 4096;

inline constexpr Index panel_square = panel_width * panel_width;

/// Lines of a cache that so many steps of k of a panel are decoded from; 0: nobody knows where they lie.
template <class W>
constexpr Index lines_of_code(Index steps) {
  if constexpr (LiesInBlocks<W>)
    return (steps * W::Blocks::bytes / W::Blocks::inputs + 63) / 64;
  else
    return 0;
}

/// Rows whose sums scratch is large enough for.
inline constexpr Index rows_decoded = scratch_size / (TileShape<float>::most_panels * panel_width);

/// Calls take(p, tile, sums) for each panel p_begin, ..., p_end - 1 and each tile of the packed rows: sums[i] (rows of
/// the tile, panel_width) are those of the rows with inputs k0, ..., k0 + left.depth - 1 of weight i. All weights are
/// of one shape.
template <class S, class W, class Take>
void multiply_decoded(const PackedRows<S>& left, std::initializer_list<const W*> weights, Index p_begin, Index p_end,
                      Index k0, const Take& take) {
  using Shape = TileShape<S>;
  const auto together = static_cast<Index>(weights.size());
  const Index padded = whole_chunks(left.depth), tiles = left.tiles.count(), last = (p_end - p_begin) * together - 1;
  const Index group = (std::max)(together, Index{Shape::panels(left.tiles.size(0))});
  const EvenParts turns{padded / panel_width, (std::max)(Index{1}, decoded_at_once / group / panel_square)};
  S *const decoded = Scratch<S>::mine().second.data(), *const sums = Scratch<S>::mine().sums.data();
  const S* operand[Shape::most_panels];
  S* sum[Shape::most_panels];
  const auto weight = [&](Index i) { return weights.begin()[(std::min)(i, last) % together]; };
  const auto panel = [&](Index i) { return p_begin + (std::min)(i, last) / together; };
  /// Where the bytes lie that panel i, or the one a group later, is decoded from in a turn, as what a tile prefetches.
  const auto code = [&]([[maybe_unused]] Index i, [[maybe_unused]] Index turn) -> const S* {
    if constexpr (LiesInBlocks<W>) {
      if (turn == turns.count()) i += group, turn = 0;
      const Index k = k0 + turns.begin(turn) * panel_width;
      return reinterpret_cast<const S*>(weight(i)->block(panel(i), k / W::Blocks::inputs));
    } else {
      return decoded;  // it is near: nothing is left to prefetch
    }
  };
  for (Index first = 0; first <= last; first += group) {
    for (Index turn = 0; turn < turns.count(); ++turn) {
      const Index k = turns.begin(turn) * panel_width, chunks = turns.size(turn);
      const Index steps = (std::min)(chunks * panel_width, left.depth - k);
      for (Index i = 0; i < group; ++i) {
        weight(first + i)->decode_panel(panel(first + i), k0 + k, steps, decoded + i * chunks * panel_square);
        operand[i] = decoded + i * chunks * panel_square;
      }
      const Index lines = lines_of_code<W>(steps), share = lines / (tiles * (std::max)(chunks, Index{1})) + 1;
      for (Index tile = 0; tile < tiles; ++tile) {
        const Index row = left.tiles.begin(tile), rows = left.tiles.size(tile), at_once = Shape::panels(rows);
        const auto multiply = packed_tile<S>(left.order, rows);
        const Index prefetched = (std::min)(tile * share * chunks, lines);  // by the tiles before
        for (Index i = 0; i < group; ++i) sum[i] = sums + (i * left.tiles.total() + row) * panel_width;
        for (Index i = 0; i < group; i += at_once) {
          const S* const ahead = code(first + i, turn + 1) + prefetched * (64 / static_cast<Index>(sizeof(S)));
          multiply(left.data + row * padded + k * rows, steps, rows * panel_width, operand + i, sum + i,
                   turn == 0 ? Sums::set : Sums::go_on, Ahead::one_far, &ahead,
                   static_cast<std::uintptr_t>(prefetched < lines ? share : 0));
        }
      }
    }
    for (Index tile = 0; tile < tiles; ++tile) {
      for (Index i = 0; i < group; ++i) sum[i] = sums + (i * left.tiles.total() + left.tiles.begin(tile)) * panel_width;
      for (Index i = 0; i < group && first + i <= last; i += together)
        take(panel(first + i), tile, static_cast<const S* const*>(sum + i));
    }
  }
}

}  // namespace detail

MOE_NAMESPACE_END
