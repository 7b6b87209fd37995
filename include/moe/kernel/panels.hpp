// The three products of a linear map y = x w' whose weight lies in panels (moe/weights.hpp). Each works on a range of
// w's outputs or inputs, so that one expert's product can be many tasks. The order in which an entry's terms are added
// is fixed by the shape of w and the place of the entry (and, for dw, the number of rows): neither the range nor the
// other rows have a say in it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "moe/core.hpp"
#include "moe/kernel/chunk.hpp"
#include "moe/kernel/scratch.hpp"
#include "moe/kernel/tile.hpp"
#include "moe/weights.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index longest_sum = 1536;  // of one part of k
inline constexpr Index columns_at_once = 512, rows_of_gradient = 128;

/// 0 .. total - 1 in even parts of at most `largest`.
struct EvenParts {
  Index total, largest;

  Index count() const { return (total + largest - 1) / largest; }
  Index begin(Index part) const { return total * part / count(); }
  Index size(Index part) const { return begin(part + 1) - begin(part); }
};

/// Rows of so many entries that are packed together: they stay in the second-level cache.
inline Index rows_at_once(Index entries) { return (std::max)(Index{48}, (Index{1} << 16) / (entries + 1)); }

/// Panels first, ..., last - 1 of a weight at full width, from their input k on: the last one of the weight, if it is
/// narrower, widened with zeros as far as input k + depth - 1.
template <class S>
class FullPanels {
 public:
  FullPanels(const Weights<S>& w, Index last, Index k, Index depth) : w_(w), k_(k) {
    if (last < w.panels() || w.rows() % 16 == 0) return;
    narrow_ = w.panels() - 1;
    S* out = widened_ = Scratch<S>::mine().widened.data();
    const Index width = w.width_of_panel(narrow_);
    for (Index i = k; i < k + depth; ++i, out += 16)
      std::fill(std::copy_n(w.panel(narrow_) + i * width, width, out), out + 16, S(0));
  }

  const S* operator()(Index p) const { return p == narrow_ ? widened_ : w_.panel(p) + k_ * 16; }

  /// The first of p + 1, ..., end that does not follow the one before it in memory.
  Index end_of_run(Index p, Index end) const { return p < narrow_ && narrow_ < end ? narrow_ : end; }

 private:
  const Weights<S>& w_;
  Index k_, narrow_ = -1;
  S* widened_ = nullptr;
};

/// packed[k][i] = rows(i, k), tile after tile; chunk by chunk, so that what is written stays in the first-level cache.
template <class S>
void pack_rows(ConstMatrixRef<S> rows, const EvenParts& tiles, S* packed) {
  for (Index t = 0; t < tiles.count(); ++t) {
    const Index count = tiles.size(t);
    for_each_chunk(rows.cols(), [&](Index k0, Index depth) {
      for (Index i = 0; i < count; ++i) {
        const S* row = rows.data() + (tiles.begin(t) + i) * rows.outerStride() + k0;
        for (Index k = 0; k < depth; ++k) packed[k * count + i] = row[k];
      }
      packed += count * depth;
    });
  }
}

/// packed[k][i] = columns(k, i), tile after tile.
template <class S>
void pack_columns(ConstMatrixRef<S> columns, const EvenParts& tiles, S* packed) {
  for (Index t = 0; t < tiles.count(); ++t)
    for (Index k = 0; k < columns.rows(); ++k, packed += tiles.size(t))
      std::copy_n(columns.data() + k * columns.outerStride() + tiles.begin(t), tiles.size(t), packed);
}

/// panel[k][j] = columns(k, j) for j < 16, zeros where there is none.
template <class S>
void pack_panel(ConstMatrixRef<S> columns, S* panel) {
  for (Index k = 0; k < columns.rows(); ++k, panel += 16)
    store_chunk<S>(load_chunk(columns.data() + k * columns.outerStride(), columns.cols(), S(0)), panel, chunk_size);
}

/// panel[k][i] = rows(i, k) for i < 16 and k up to a multiple of 16, zeros where there is none.
template <class S>
void pack_transposed(ConstMatrixRef<S> rows, S* panel) {
  const Index depth = (rows.cols() + 15) / 16 * 16;
  if (rows.rows() < 16 || rows.cols() < depth) std::fill_n(panel, 16 * depth, S(0));
  for_each_chunk(rows.cols(), [&](Index k0, Index count) {
    for (Index i = 0; i < rows.rows(); ++i) {
      const S* row = rows.data() + i * rows.outerStride() + k0;
      for (Index k = 0; k < count; ++k) panel[(k0 + k) * 16 + i] = row[k];
    }
  });
}

/// The product of all tiles of packed rows (t) with panels first, ..., last - 1 of the right operand (p), panels in the
/// outer loop: `right(p)` are the panel's entries, `begin(t, p, room)` is where the sums start and stay (`room`, or
/// memory of the caller's), `end(t, p, sums)` is told when they are done.
template <class S, class Right, class Begin, class End>
void multiply_tiles(const S* packed, const EvenParts& tiles, Index depth, Index first, Index last, Right&& right,
                    Begin&& begin, End&& end) {
  using Shape = TileShape<S>;
  alignas(64) S rooms[Shape::most_panels][Shape::rows * 16] = {};
  std::array<const S*, Shape::most_panels> operand;
  std::array<S*, Shape::most_panels> sums;
  if (tiles.count() == 0) return;
  const Index group = Shape::panels(tiles.total / tiles.count());  // of the smallest tile: a multiple of the others'
  for (Index p0 = first; p0 < last; p0 += group) {
    const S* a = packed;
    for (Index t = 0; t < tiles.count(); a += tiles.size(t++) * depth) {
      const Index at_once = Shape::panels(tiles.size(t));
      for (Index p = p0; p < (std::min)(p0 + group, last); p += at_once) {
        const Index count = (std::min)(at_once, last - p);
        for (Index i = 0; i < at_once; ++i) {  // beyond the last panel, it is computed again, for nobody
          operand[static_cast<std::size_t>(i)] = right((std::min)(p + i, last - 1));
          sums[static_cast<std::size_t>(i)] = i < count ? begin(t, p + i, rooms[i]) : rooms[i];
        }
        const Index next = p0 + group + t;  // each tile asks for one of the next panels, while there are any
        const S* const ahead = right(t < group && next < last ? next : p);
        multiply_packed_tile<S>(tiles.size(t), a, depth, operand.data(), sums.data(), ahead);
        for (Index i = 0; i < count; ++i) end(t, p + i, sums[static_cast<std::size_t>(i)]);
      }
    }
  }
}

/// to (count, width) += tile (count, 16).
template <class S>
void add_tile(const S* tile, Index count, Index width, S* to, Index stride) {
  for (Index i = 0; i < count; ++i, tile += 16, to += stride)
    store_chunk<S>(load_chunk(to, width, S(0)) + load_chunk(tile, chunk_size, S(0)), to, width);
}

// In the following, `first` is a multiple of 16, and columns beyond the last one are ignored.

/// Columns first, ..., first + columns - 1 of y = x w' + b (empty: none).
template <class S>
void panels_forward(ConstMatrixRef<S> x, const Weights<S>& w, const Vector<S>& b, MatrixRef<S> y, Index first,
                    Index columns) {
  columns = (std::min)(columns, w.rows() - first);
  if (columns <= 0 || x.rows() == 0) return;
  if (b.size() > 0)
    y.middleCols(first, columns).rowwise() = b.segment(first, columns).transpose();
  else
    y.middleCols(first, columns).setZero();
  const Index p0 = first / 16, p_end = (first + columns + 15) / 16;
  const EvenParts depths{w.cols(), longest_sum};
  const EvenParts chunks{x.rows(), rows_at_once((std::min)(w.cols(), longest_sum))};
  S* const packed = Scratch<S>::mine().packed.data();
  for (Index part = 0; part < depths.count(); ++part) {
    const Index k0 = depths.begin(part), depth = depths.size(part);
    const FullPanels<S> panels(w, p_end, k0, depth);
    for (Index chunk = 0; chunk < chunks.count(); ++chunk) {
      const Index row = chunks.begin(chunk);
      const EvenParts tiles{chunks.size(chunk), TileShape<S>::rows};
      pack_rows<S>(x.block(row, k0, tiles.total, depth), tiles, packed);
      multiply_tiles<S>(
          packed, tiles, depth, p0, p_end, panels,
          [&](Index t, Index, S* room) { return std::fill_n(room, tiles.size(t) * 16, S(0)), room; },
          [&](Index t, Index p, const S* sums) {
            add_tile(sums, tiles.size(t), w.width_of_panel(p), &y(row + tiles.begin(t), p * 16), y.outerStride());
          });
    }
  }
}

/// Rows first, ..., first + columns - 1 of dw += dy' x, and those entries of db (empty: none) += the sum of dy's rows.
template <class S>
void panels_weight_gradient(ConstMatrixRef<S> dy, ConstMatrixRef<S> x, Weights<S>& dw, Vector<S>& db, Index first,
                            Index columns) {
  columns = (std::min)(columns, dw.rows() - first);
  if (columns <= 0 || dy.rows() == 0) return;
  for (; columns > columns_at_once; first += columns_at_once, columns -= columns_at_once)
    panels_weight_gradient<S>(dy, x, dw, db, first, columns_at_once);
  if (db.size() > 0)
    for (Index n = 0; n < dy.rows(); ++n) db.segment(first, columns) += dy.row(n).segment(first, columns).transpose();
  const Index p0 = first / 16, p_end = (first + columns + 15) / 16;
  S *const packed = Scratch<S>::mine().packed.data(), *const panels = Scratch<S>::mine().second.data();
  const EvenParts chunks{x.rows(), rows_of_gradient}, blocks{x.cols(), columns_at_once};
  for (Index chunk = 0; chunk < chunks.count(); ++chunk) {
    const Index row = chunks.begin(chunk), depth = chunks.size(chunk);
    for (Index p = p0; p < p_end; ++p)
      pack_panel<S>(dy.block(row, p * 16, depth, dw.width_of_panel(p)), panels + (p - p0) * 16 * depth);
    for (Index block = 0; block < blocks.count(); ++block) {
      const Index column = blocks.begin(block);
      const EvenParts tiles{blocks.size(block), TileShape<S>::rows};
      pack_columns<S>(x.block(row, column, depth, tiles.total), tiles, packed);
      const auto target = [&](Index t, Index p) {
        return dw.panel(p) + (column + tiles.begin(t)) * dw.width_of_panel(p);
      };
      multiply_tiles<S>(
          packed, tiles, depth, p0, p_end, [&](Index p) { return panels + (p - p0) * 16 * depth; },
          [&](Index t, Index p, S* room) {
            if (dw.width_of_panel(p) == 16) return target(t, p);
            return std::fill_n(room, tiles.size(t) * 16, S(0)), room;
          },
          [&](Index t, Index p, const S* sums) {
            const Index width = dw.width_of_panel(p);
            if (width != 16) add_tile(sums, tiles.size(t), width, target(t, p), width);
          });
    }
  }
}

/// Columns first, ..., first + columns - 1 of dx = dy w, or dx += dy w. The weight's panels are the left operand here,
/// of tiles (inputs, 16 tokens); their sums stay in memory from one few panels to the next, so that w streams by once.
template <class S>
void panels_input_gradient(ConstMatrixRef<S> dy, const Weights<S>& w, MatrixRef<S> dx, Index first, Index columns,
                           bool accumulate) {
  constexpr Index panels_at_once = 4, panels_packed = 32, tokens_at_once = 128, rows = TileShape<S>::rows;
  columns = (std::min)(columns, w.cols() - first);
  if (columns <= 0 || dy.rows() == 0) return;
  for (; columns > columns_at_once; first += columns_at_once, columns -= columns_at_once)
    panels_input_gradient<S>(dy, w, dx, first, columns_at_once, accumulate);
  if (!accumulate) dx.middleCols(first, columns).setZero();
  if (w.cols() < rows) {  // too few for a tile
    for (Index n = 0; n < dy.rows(); ++n)
      for (Index d = first; d < first + columns; ++d)
        for (Index f = 0; f < w.rows(); ++f) dx(n, d) += dy(n, f) * w(f, d);
    return;
  }
  // Tiles of `rows` inputs; the last one reaches back into its neighbour's, beyond `first` if need be.
  const Index tiles = (columns + rows - 1) / rows, origin = (std::min)(first, first + columns - rows);
  const auto begin_of = [&](Index t) { return (std::min)(first + t * rows, first + columns - rows); };
  const FullPanels<S> panels(w, w.panels(), origin, first + columns - origin);
  S *const packed = Scratch<S>::mine().packed.data(), *const sums = Scratch<S>::mine().second.data();
  for (Index row = 0; row < dy.rows(); row += tokens_at_once) {
    const Index count = (std::min)(tokens_at_once, dy.rows() - row), blocks = (count + 15) / 16;
    std::fill_n(sums, tiles * blocks * rows * 16, S(0));
    for (Index p0 = 0; p0 < w.panels(); p0 += panels_packed) {
      const Index end = (std::min)(p0 + panels_packed, w.panels());
      for (Index block = 0; block < blocks; ++block)
        pack_transposed<S>(dy.block(row + block * 16, p0 * 16, (std::min)(Index{16}, count - block * 16),
                                    (std::min)(end * 16, w.rows()) - p0 * 16),
                           packed + block * panels_packed * 256);
      for (Index p = p0, next = 0; p < end; p = next) {
        next = panels.end_of_run(p, (std::min)(p + panels_at_once, end));
        for (Index t = 0; t < tiles; ++t)
          multiply_panel_tiles<S>(panels(p) + (begin_of(t) - origin) * 16, next - p, w.cols() * 16, blocks,
                                  packed + (p - p0) * 256, panels_packed * 256, sums + t * blocks * rows * 16);
      }
    }
    for (Index t = 0; t < tiles; ++t)
      for (Index n = 0; n < count; ++n) {
        const S* sum = sums + (t * blocks + n / 16) * rows * 16 + n % 16;
        for (Index d = first + t * rows; d < begin_of(t) + rows; ++d) dx(row + n, d) += sum[(d - begin_of(t)) * 16];
      }
  }
}

}  // namespace detail

MOE_NAMESPACE_END
