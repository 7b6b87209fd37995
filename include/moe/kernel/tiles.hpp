// The product of packed rows with panels, tile by tile, in an order that suits the caches.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/compiler.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/panel_reader.hpp"
#include "moe/kernel/scratch.hpp"
#include "moe/kernel/tile.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index longest_sum = 1536;  // steps of k in one part
inline constexpr Index tiles_ahead = 4;     // whose sums are prefetched

/// Rows of so many entries that are packed together: they stay in the second-level cache.
/// The more there are, the less often the panels are read again.
inline Index rows_at_once(Index entries) { return (std::max)(Index{48}, scratch_size / (whole_chunks(entries) + 1)); }

/// Steps of k, a multiple of panel_width, that few tiles take before it is the next one's turn: what `panels` panels at
/// once read and prefetch in that time stays in the first-level cache.
inline Index steps_of_turn(Index panels) { return (std::max)(2 * panel_width, 8 * panel_width / panels); }

/// The left operand: packed rows, tile after tile, each of whole chunks of k.
template <class S>
struct PackedRows {
  const S* data;
  EvenParts tiles;
  LeftOrder order;
  Index depth;
};

/// The right operand: panels of one matrix, or of two of one shape in turn: first panel 0 of each, then panel 1 of
/// each.
template <class S>
struct RightPanels {
  static constexpr std::size_t most_weights = 2;
  std::array<PanelRun<S>, most_weights> runs;
  Index weights = 1;

  Index count() const { return runs[0].count * weights; }
  const S* operator()(Index p) const {
    return weights == 1 ? runs[0](p) : runs[static_cast<std::size_t>(p & 1)](p >> 1);
  }
};

/// Sums in memory of the caller's, to be added to or gone on from: those of panel p, one row after the other, begin at
/// first + p * stride. `panels` says how many panels have theirs there; 0: none.
template <class S>
struct SumsInMemory {
  S* first = nullptr;
  Index stride = 0, panels = 0;
  Sums mode = Sums::add;
};

/// What will be written where the sums belong: from `row` and `column` on, each of `views` has a row for each row of
/// the left operand, and panel_width columns for each panel (of two weights: for each pair). The lines are prefetched.
template <class S>
struct Outputs {
  const View<S>* views = nullptr;
  std::size_t count = 0;
  Index row = 0, column = 0;
};

/// Goes through all tiles of the product, panels in the outer loop:
///
///     for (TileWalk<S> walk(left, right); walk.next();)
///       for (i = 0; i < walk.panels(); ++i)
///         // walk.sums(i) (rows of walk.tile(), panel_width) are the sums of panel walk.first_panel() + i
template <class S>
class TileWalk {
  using Shape = TileShape<S>;

 public:
  TileWalk(const PackedRows<S>& left, const RightPanels<S>& right, const SumsInMemory<S>& target = {},
           Outputs<S> outputs = {});
  TileWalk(const TileWalk&) = delete;

  /// Computes the next tile; false if there is none.
  bool next();

  Index tile() const { return tile_; }
  Index first_panel() const { return panel_; }
  Index panels() const { return (std::min)(group_, last_ - panel_); }
  const S* sums(Index i) const { return tile_sums_[i]; }
  /// Those of panels i, i + 1, ...
  const S* const* sums_from(Index i) const { return tile_sums_ + i; }
  /// Whether sums(i) are the caller's own, in memory.
  bool in_memory(Index i) const { return panel_ + i < target_.panels; }

 private:
  struct Lines {
    const S* first;
    std::uintptr_t count;  // at each panel_width steps of k
  };

  void begin_turn(Index turn);
  void multiply(Index tile);
  Lines lines_ahead(Index tile, Index i) const;
  void prefetch_outputs(Index row, Index rows) const;

  PackedRows<S> left_;
  RightPanels<S> right_;
  SumsInMemory<S> target_;
  Outputs<S> outputs_;
  Index padded_, last_;
  Index group_;  // panels that the smallest tile works on at once: a multiple of the other tiles'
  bool in_turns_, alone_;
  EvenParts turns_;
  Index tile_, panel_;
  Index k_ = 0, steps_ = 0;  // of the turn
  bool first_turn_ = true;
  S** tile_sums_ = nullptr;
  const S *operand_[Shape::most_panels], *next_[Shape::most_panels];
  S* sums_[Shape::most_panels];
  alignas(64) S scratch_[Shape::most_panels][Shape::rows * panel_width];
};

// Two ways to keep a processor from waiting for panels to come from memory. Up to 24 rows: the tiles alternate, each
// takes a turn of a few steps of k, and prefetches what is read in the next turn. More rows: each tile takes all steps,
// and the first tiles prefetch the next panels. A tile that reads eight panels at once takes all steps too: its eight
// streams keep memory busy, and processors follow them by themselves.
template <class S>
TileWalk<S>::TileWalk(const PackedRows<S>& left, const RightPanels<S>& right, const SumsInMemory<S>& target,
                      Outputs<S> outputs)
    : left_(left),
      right_(right),
      target_(target),
      outputs_(outputs),
      padded_(whole_chunks(left.depth)),
      last_(right.count()),
      group_((std::max)(right.weights, Index{Shape::panels(left.tiles.total() / left.tiles.count())})),
      in_turns_(target.first == nullptr && left.tiles.total() <= 24 && group_ < Shape::most_panels &&
                left.tiles.count() * group_ <= Shape::most_panels),
      alone_(in_turns_ && left.tiles.count() == 1),
      turns_(padded_ / panel_width, in_turns_ ? steps_of_turn(group_) / panel_width : padded_ / panel_width + 1),
      tile_(left.tiles.count() - 1),
      panel_(-group_) {}

template <class S>
bool TileWalk<S>::next() {
  if (++tile_ >= left_.tiles.count()) {
    tile_ = 0, panel_ += group_;
    if (panel_ >= last_) return false;
    for (Index turn = 0; turn < turns_.count(); ++turn) {
      begin_turn(turn);
      if (turn + 1 < turns_.count())
        for (Index tile = 0; tile < left_.tiles.count(); ++tile) multiply(tile);
    }
  }
  multiply(tile_);
  return true;
}

/// Where the panels of this turn's steps lie, and those that come after it. Beyond the last panel, that one is computed
/// again, and nobody reads the sums.
template <class S>
void TileWalk<S>::begin_turn(Index turn) {
  k_ = turns_.begin(turn) * panel_width;
  steps_ = (std::min)(turns_.size(turn) * panel_width, left_.depth - k_);
  first_turn_ = turn == 0;
  const bool last_turn = turn + 1 == turns_.count();
  for (Index i = 0; i < group_; ++i) {
    operand_[i] = right_((std::min)(panel_ + i, last_ - 1)) + k_ * panel_width;
    next_[i] = last_turn ? right_((std::min)(panel_ + group_ + i, last_ - 1)) : operand_[i] + steps_ * panel_width;
  }
}

template <class S>
void TileWalk<S>::prefetch_outputs(Index row, Index rows) const {
  const Index end = (panel_ + panels()) / right_.weights;
  for (Index p = panel_ / right_.weights; p < end; ++p)
    for (Index i = row; i < row + rows; ++i)
      for (std::size_t o = 0; o < outputs_.count; ++o)
        MOE_DETAIL_PREFETCH_FOR_WRITING(outputs_.views[o].row(outputs_.row + i) + outputs_.column + p * panel_width);
}

/// What a tile that unrolls prefetches while it meets panel i of the group: sums in memory of a tile some way ahead, or
/// its share of the next panel, so that all tiles together keep memory evenly busy.
template <class S>
typename TileWalk<S>::Lines TileWalk<S>::lines_ahead(Index tile, Index i) const {
  constexpr Index line = 64 / static_cast<Index>(sizeof(S)), lines_of_chunk = panel_width * panel_width / line;
  const Index chunks = whole_chunks(steps_) / panel_width, tiles = left_.tiles.count();
  if (in_memory(i)) {
    const Index there = tile + tiles_ahead, panel = panel_ + i + (there < tiles ? 0 : 1);
    const Index row = left_.tiles.begin(there < tiles ? there : (std::min)(there - tiles, tile));
    if (panel >= target_.panels) return {operand_[i], 0};
    return {target_.first + panel * target_.stride + row * panel_width,
            static_cast<std::uintptr_t>(1 + Shape::rows * panel_width / line / chunks)};
  }
  const Index share = 1 + (lines_of_chunk - 1) / tiles, first = tile * share;
  if (first >= lines_of_chunk) return {operand_[i], 0};
  return {next_[i] + (std::min)(first * chunks * line, steps_ * panel_width), static_cast<std::uintptr_t>(share)};
}

/// This turn's steps of a tile with all panels of the group.
template <class S>
void TileWalk<S>::multiply(Index tile) {
  const Index row = left_.tiles.begin(tile), rows = left_.tiles.begin(tile + 1) - row, at_once = Shape::panels(rows);
  const Index own = in_turns_ ? tile * group_ : 0;  // the first of the tile's sums
  const bool in_place = target_.first != nullptr;
  const Sums mode = in_place ? target_.mode : first_turn_ ? Sums::set : Sums::go_on;
  const TileFunction<S> multiply_rows = packed_tile<S>(left_.order, rows);
  tile_sums_ = sums_ + own;
  if (first_turn_ && outputs_.count > 0) prefetch_outputs(row, rows);
  for (Index i = 0; i < group_; ++i) {
    tile_sums_[i] =
        in_memory(i) ? target_.first + (panel_ + i) * target_.stride + row * panel_width : scratch_[own + i];
    if (in_place && !in_memory(i)) std::fill_n(tile_sums_[i], rows * panel_width, S(0));
  }
  for (Index i = 0; i < group_ && panel_ + i < last_; i += at_once) {
    const S* ahead = tile < group_ ? next_[tile] : operand_[i];  // the latter is near: nothing is left to prefetch
    std::uintptr_t lines = 0;
    if (Shape::unrolls(at_once)) {
      const Lines some = lines_ahead(tile, i);
      ahead = some.first, lines = some.count;
    } else {
      // Sums in memory of the tiles some way ahead: with few steps, those of the next tile would come too late.
      const Index j = i + tile % at_once;
      if (in_memory(j) && tile >= group_ && row + tiles_ahead * rows + left_.depth <= left_.tiles.total())
        ahead = tile_sums_[j] + tiles_ahead * rows * panel_width;
    }
    multiply_rows(left_.data + row * padded_ + k_ * rows, steps_, rows * panel_width, operand_ + i, tile_sums_ + i,
                  mode, alone_ ? Ahead::each_near : Ahead::one_far, alone_ ? next_ + i : &ahead, lines);
  }
}

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE class TileWalk<float>;
MOE_DETAIL_INSTANCE class TileWalk<double>;
#endif

}  // namespace detail

MOE_NAMESPACE_END
