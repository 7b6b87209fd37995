// The three products of a linear map y = x w' whose weight lies in panels (moe/core/weights.hpp). Each works on a range
// of w's outputs or inputs, so that one expert's product can be many tasks. The order in which an entry's terms are
// added is fixed by the shape of w and the place of the entry (for dw, also by the number of rows; for dx, by whether
// they are few): neither the range nor the other rows have a say in it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "moe/core/core.hpp"
#include "moe/core/weights.hpp"
#include "moe/kernel/chunk.hpp"
#include "moe/kernel/compiler.hpp"
#include "moe/kernel/lanes.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/scratch.hpp"
#include "moe/kernel/tile.hpp"
#include "moe/kernel/tiles.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index columns_at_once = 512, rows_of_gradient = 256;
/// So few rows go lane by lane in the gradients, at the speed of memory: in the input's they would not fill a tile of
/// sixteen tokens, in the weight's a tile would be done before the next one's sums have come. With more, a
/// training step is slower that way (the input's with 256 bits, 4 to 8 rows: 0.8 to 0.9 of the speed; the weight's, 16
/// rows: 0.9).
inline constexpr int rows_of_input_by_lane = 3, rows_of_weight_by_lane = 8;

/// Panels first, ..., last - 1 of a weight at full width, from their input k on: the last one of the weight, if it is
/// narrower, widened with zeros as far as input k + depth - 1.
template <class S>
class FullPanels {
 public:
  /// `room` is for 16 * depth entries, and outlives this.
  FullPanels(const Weights<S>& w, Index last, Index k, Index depth, S* room) : w_(&w), k_(k), widened_(room) {
    if (last < w.panels() || w.rows() % 16 == 0) return;
    narrow_ = w.panels() - 1;
    const Index width = w.width_of_panel(narrow_);
    for (Index i = k; i < k + depth; ++i, room += 16)
      std::fill(std::copy_n(w.panel(narrow_) + i * width, width, room), room + 16, S(0));
  }

  const S* operator()(Index p) const { return p == narrow_ ? widened_ : w_->panel(p) + k_ * 16; }

  /// The first of p + 1, ..., end that does not follow the one before it in memory.
  Index end_of_run(Index p, Index end) const { return p < narrow_ && narrow_ < end ? narrow_ : end; }

 private:
  const Weights<S>* w_;
  Index k_, narrow_ = -1;
  S* widened_;
};

/// Rows that a small expert is to take through its stages at once, so that what one stage writes is still in the
/// second-level cache when the next one reads it, beside what is packed: of an expert of so many weights, `widest`
/// input or hidden units. 0: all rows take one stage after the other, since weights that leave the caches would be read
/// once for each block.
template <class S>
Index rows_of_block(Index weights, Index widest) {
  constexpr Index few = (Index{1} << 22) / static_cast<Index>(sizeof(S));
  return weights <= few ? rows_at_once(widest) / 2 : 0;
}

// In the following, `first` is a multiple of 16, and so is `columns` unless they reach the last one; those beyond are
// ignored.

/// Where a row's sums belong, and which part of all their terms they are the sums of.
struct SumsPlace {
  Index row, column, width;  ///< `width` columns, 16 at most, from `column` on.
  bool first_part, last_part;
};

/// Calls take(place, sums) for each row of x, each panel of columns first, ..., first + columns - 1 and each part of
/// the terms in turn, with pointers to the sums of x w' for each of the weights, which are of one shape: what they
/// share is packed once, and what is made of them is made while they are near. `take` writes to `outputs` there.
template <class S, std::size_t count, std::size_t output_count, class Take>
void panels_sums(ConstMatrixRef<S> x, const std::array<const Weights<S>*, count>& weights, Index first, Index columns,
                 std::array<MatrixRef<S>, output_count> outputs, Take&& take) {
  static_assert(count * 16 * longest_sum <= Scratch<S>::widened_size, "moe: there is no room for so many weights");
  constexpr auto together = static_cast<Index>(count);
  const Weights<S>& w = *weights[0];
  columns = (std::min)(columns, w.rows() - first);
  if (columns <= 0 || x.rows() == 0) return;
  const Index p0 = first / 16, p_end = (first + columns + 15) / 16;
  const EvenParts depths{w.cols(), longest_sum};
  const EvenParts chunks{x.rows(), rows_at_once((std::min)(w.cols(), longest_sum))};
  S *const packed = Scratch<S>::mine().packed.data(), *const widened = Scratch<S>::mine().widened.data();
  for (Index part = 0; part < depths.count(); ++part) {
    const Index k0 = depths.begin(part), depth = depths.size(part);
    const auto panels = [&]<std::size_t... i>(std::index_sequence<i...>) {
      return std::array{FullPanels<S>(*weights[i], p_end, k0, depth, widened + i * 16 * longest_sum)...};
    }
    (std::make_index_sequence<count>{});
    for (Index chunk = 0; chunk < chunks.count(); ++chunk) {
      const Index row = chunks.begin(chunk);
      const EvenParts tiles{chunks.size(chunk), TileShape<S>::rows};
      pack_rows<S>(x.block(row, k0, tiles.total(), depth), tiles, packed);
      multiply_tiles<S, LeftOrder::rows>(  // the weights' panels in turn
          packed, tiles, depth, p0 * together, p_end * together, together, false,
          [&](Index p) { return panels[static_cast<std::size_t>(p % together)](p / together); },
          [&](Index t, Index p, S* room) {
            if (p % together == 0)  // the line where each row begins
              for (Index i = row + tiles.begin(t), end = i + tiles.size(t); i < end; ++i)
                for (MatrixRef<S>& output : outputs) MOE_DETAIL_PREFETCH_FOR_WRITING(&output(i, p / together * 16));
            return room;
          },
          [&](Index t, Index p, S* const* sums) {
            const Index panel = p / together;
            SumsPlace place{row + tiles.begin(t), panel * 16, w.width_of_panel(panel), part == 0,
                            part + 1 == depths.count()};
            std::array<const S*, count> of_row;
            std::copy_n(sums, count, of_row.begin());
            for (const Index end = place.row + tiles.size(t); place.row < end; ++place.row) {
              take(place, of_row);
              for (const S*& sum : of_row) sum += 16;
            }
          });
    }
  }
}

/// y, at that place, = sums + b (empty: none), + the sums of all parts in the end.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> add_sums(const SumsPlace& place, const S* sums, const Vector<S>& b, S* y) {
  Chunk<S> so_far = Chunk<S>::Zero();
  if (!place.first_part)
    so_far = load_chunk(y, place.width, S(0));
  else if (b.size() > 0)
    so_far = load_chunk(b.data() + place.column, place.width, S(0));
  so_far += load_chunk(sums, chunk_size, S(0));
  store_chunk<S>(so_far, y, place.width);
  return so_far;
}

/// Columns first, ..., first + columns - 1 of y = x w' + b (empty: none).
template <class S>
void panels_forward(ConstMatrixRef<S> x, const Weights<S>& w, const Vector<S>& b, MatrixRef<S> y, Index first,
                    Index columns) {
  panels_sums<S, 1, 1>(x, {&w}, first, columns, {y}, [&](const SumsPlace& place, const auto& sums) {
    add_sums<S>(place, sums[0], b, &y(place.row, place.column));
  });
}

/// Panels first, ..., last - 1 of dw += dy' x of so many rows.
template <class S, int rows>
void lanes_weight_gradient(ConstMatrixRef<S> dy, ConstMatrixRef<S> x, Weights<S>& dw, Index first, Index last) {
  for (Index p = first; p < last; ++p) {
    const Index width = dw.width_of_panel(p);
    std::array<Chunk<S>, std::size_t{rows}> of_row;
    for (int n = 0; n < rows; ++n)
      of_row[static_cast<std::size_t>(n)] = load_chunk(dy.data() + n * dy.outerStride() + p * 16, width, S(0));
    S* sums = dw.panel(p);
    const S* entry = x.data();
    for (Index k = 0; k < x.cols(); ++k, sums += width, ++entry) {
      Chunk<S> sum = load_chunk(sums, width, S(0));
      for (int n = 0; n < rows; ++n) sum += entry[n * x.outerStride()] * of_row[static_cast<std::size_t>(n)];
      store_chunk<S>(sum, sums, width);
    }
  }
}

/// Rows first, ..., first + columns - 1 of dw += dy' x, and those entries of db (empty: none) += the sum of dy's rows.
template <class S>
void panels_weight_gradient(ConstMatrixRef<S> dy, ConstMatrixRef<S> x, Weights<S>& dw, Vector<S>& db, Index first,
                            Index columns) {
  static_assert(rows_of_gradient * columns_at_once <= Scratch<S>::packed_size &&
                    rows_of_gradient * columns_at_once <= Scratch<S>::second_size,
                "moe: there is no room for so many rows");
  columns = (std::min)(columns, dw.rows() - first);
  if (columns <= 0 || dy.rows() == 0) return;
  for (; columns > columns_at_once; first += columns_at_once, columns -= columns_at_once)
    panels_weight_gradient<S>(dy, x, dw, db, first, columns_at_once);
  if (db.size() > 0)
    for (Index n = 0; n < dy.rows(); ++n) db.segment(first, columns) += dy.row(n).segment(first, columns).transpose();
  const Index p0 = first / 16, p_end = (first + columns + 15) / 16;
  if (as_constant<rows_of_weight_by_lane>(dy.rows(), [&]<int rows>(std::integral_constant<int, rows>) {
        lanes_weight_gradient<S, rows>(dy, x, dw, p0, p_end);
      }))
    return;
  S *const packed = Scratch<S>::mine().packed.data(), *const panels = Scratch<S>::mine().second.data();
  const EvenParts chunks{x.rows(), rows_of_gradient}, blocks{x.cols(), columns_at_once};
  for (Index chunk = 0; chunk < chunks.count(); ++chunk) {
    const Index row = chunks.begin(chunk), depth = chunks.size(chunk);
    for (Index p = p0; p < p_end; ++p)
      pack_panel<S>(dy.block(row, p * 16, depth, dw.width_of_panel(p)), panels + (p - p0) * 16 * depth);
    for (Index block = 0; block < blocks.count(); ++block) {
      const Index column = blocks.begin(block);
      const EvenParts tiles{blocks.size(block), TileShape<S>::rows};
      pack_columns<S>(x.block(row, column, depth, tiles.total()), tiles, packed);
      const auto target = [&](Index t, Index p) {
        return dw.panel(p) + (column + tiles.begin(t)) * dw.width_of_panel(p);
      };
      multiply_tiles<S, LeftOrder::columns>(
          packed, tiles, depth, p0, p_end, 1, true, [&](Index p) { return panels + (p - p0) * 16 * depth; },
          [&](Index t, Index p, S* room) {
            if (dw.width_of_panel(p) == 16) return target(t, p);
            return std::fill_n(room, tiles.size(t) * 16, S(0)), room;
          },
          [&](Index t, Index p, S* const* sums) {
            const Index width = dw.width_of_panel(p);
            if (width != 16) put_tile(sums[0], tiles.size(t), width, target(t, p), width, true);
          });
    }
  }
}

/// panels_input_gradient of so many rows, of at most columns_at_once columns: each sum is kept as those of its sixteen
/// lanes until w has gone by.
template <class S, int rows>
void lanes_input_gradient(ConstMatrixRef<S> dy, const Weights<S>& w, MatrixRef<S> dx, Index first, Index columns,
                          bool accumulate) {
  static_assert(columns_at_once * rows_of_input_by_lane * 16 <= Scratch<S>::second_size &&
                    columns_at_once * 16 <= Scratch<S>::widened_size,
                "moe: there is no room for so many rows");
  constexpr int at_once = static_cast<int>(TileShape<S>::panels(rows));
  const FullPanels<S> panels(w, w.panels(), first, columns, Scratch<S>::mine().widened.data());
  S* const sums = Scratch<S>::mine().second.data();
  std::fill_n(sums, columns * rows * 16, S(0));
  const auto add = [&]<int Panels>(std::integral_constant<int, Panels>, Index p) {
    alignas(64) S of_rows[std::size_t{rows * Panels * 16}];
    const S* operand[std::size_t{Panels}];
    for (int i = 0; i < Panels; ++i) {
      operand[i] = panels(p + i);
      pack_panel<S>(dy.middleCols((p + i) * 16, w.width_of_panel(p + i)), of_rows + i * rows * 16);
    }
    multiply_lanes<S, rows, Panels>(operand, columns, of_rows, sums);
  };
  Index p = 0;
  for (; p + at_once <= w.panels(); p += at_once) add(std::integral_constant<int, at_once>{}, p);
  for (; p < w.panels(); ++p) add(std::integral_constant<int, 1>{}, p);
  for (int n = 0; n < rows; ++n)
    for (Index k = 0; k < columns; ++k) {
      const S sum = Eigen::Map<const Chunk<S>>(sums + (k * rows + n) * 16).sum();
      dx(n, first + k) = accumulate ? dx(n, first + k) + sum : sum;
    }
}

/// Columns first, ..., first + columns - 1 of dx = dy w, or dx += dy w. Unless rows are few, the weight's panels are
/// the left operand here, of tiles (inputs, 16 tokens); their sums stay in memory from one few panels to the next, so
/// that w streams by once.
template <class S>
void panels_input_gradient(ConstMatrixRef<S> dy, const Weights<S>& w, MatrixRef<S> dx, Index first, Index columns,
                           bool accumulate) {
  constexpr Index panels_at_once = 8, panels_packed = 32, tokens_at_once = 128, rows = TileShape<S>::rows;
  columns = (std::min)(columns, w.cols() - first);
  if (columns <= 0 || dy.rows() == 0) return;
  for (; columns > columns_at_once; first += columns_at_once, columns -= columns_at_once)
    panels_input_gradient<S>(dy, w, dx, first, columns_at_once, accumulate);
  if (as_constant<rows_of_input_by_lane>(dy.rows(), [&]<int few>(std::integral_constant<int, few>) {
        lanes_input_gradient<S, few>(dy, w, dx, first, columns, accumulate);
      }))
    return;
  if (w.cols() < rows) {  // too few inputs for a tile
    if (!accumulate) dx.middleCols(first, columns).setZero();
    for (Index n = 0; n < dy.rows(); ++n)
      for (Index d = first; d < first + columns; ++d)
        for (Index f = 0; f < w.rows(); ++f) dx(n, d) += dy(n, f) * w(f, d);
    return;
  }
  // Tiles of `rows` inputs; the last one reaches back into its neighbour's, beyond `first` if need be.
  const Index tiles = (columns + rows - 1) / rows, origin = (std::min)(first, first + columns - rows);
  const auto begin_of = [&](Index t) { return (std::min)(first + t * rows, first + columns - rows); };
  const FullPanels<S> panels(w, w.panels(), origin, first + columns - origin, Scratch<S>::mine().widened.data());
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
    alignas(64) S turned[17 * 16];  // a tile by token; the last chunk read begins within the last token's
    for (Index block = 0; block < blocks; ++block)  // tiles in the inner loop: they are neighbours in dx
      for (Index t = 0; t < tiles; ++t) {
        const Index known = first + t * rows - begin_of(t);  // are the last tile's neighbour's
        transpose_rows(sums + (t * blocks + block) * rows * 16, Index{16}, rows, Index{16}, turned);
        put_tile(turned + known, (std::min)(Index{16}, count - block * 16), rows - known,
                 &dx(row + block * 16, first + t * rows), dx.outerStride(), accumulate);
      }
  }
}

}  // namespace detail

MOE_NAMESPACE_END
