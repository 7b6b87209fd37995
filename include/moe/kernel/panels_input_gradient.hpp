// dx = dy w, or dx += dy w, for a weight w that lies in panels (moe/core/weights.hpp). A call works on a range of w's
// inputs. The order in which an entry's terms are added depends on the number of outputs, and on whether the rows are
// few: neither on the range nor on the other rows.
#pragma once

#include <algorithm>
#include <cstddef>

#include "moe/core/chunk.hpp"
#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/lanes.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/panel_reader.hpp"
#include "moe/kernel/scratch.hpp"
#include "moe/kernel/tile.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index inputs_at_once = 512;

// Scratch of the functions below: the sums lie in `second`; the transposed rows of dy, if they are needed, in the first
// half of `packed`; panels that do not lie in memory as they are read, in the second half.
template <class S>
inline constexpr Index half_of_packed = scratch_size / 2;

/// Few rows, at most inputs_at_once columns: every sum is kept as the sums of its panel_width lanes until all of w has
/// been read.
template <class S, class W>
void lanes_input_gradient(View<const S> dy, const W& w, View<S> dx, Index first, Index columns, bool accumulate) {
  static_assert(inputs_at_once * rows_of_input_by_lane * panel_width <= scratch_size,
                "moe: scratch is too small for so many rows");
  constexpr Index most_panels = TileShape<S>::most_panels;
  const Index rows = dy.rows(), most = TileShape<S>::panels(rows);
  S* const sums = Scratch<S>::mine().second.data();
  std::fill_n(sums, columns * rows * panel_width, S(0));
  PanelReader<W> panels(w, w.panels(), first, columns, Scratch<S>::mine().packed.data() + half_of_packed<S>,
                        half_of_packed<S>);
  for (Index p = 0; p < w.panels();) {
    const PanelRun<S> run = panels.run(p, w.panels());
    for (Index i = 0; i < run.count;) {
      const bool one_panel = i + most > run.count;
      const Index count = one_panel ? 1 : most;
      alignas(64) S of_rows[std::size_t{rows_of_input_by_lane * most_panels * panel_width}];
      const S* operand[std::size_t{most_panels}];
      for (Index j = 0; j < count; ++j) {
        const Index output = (p + i + j) * panel_width;
        operand[j] = run(i + j);
        pack_panel<S>(dy.block(0, output, rows, (std::min)(panel_width, w.rows() - output)),
                      of_rows + j * rows * panel_width);
      }
      LanesOfRows<S>::multiply(rows, one_panel)(operand, columns, of_rows, sums);
      i += count;
    }
    p += run.count;
  }
  for (Index n = 0; n < rows; ++n)
    for (Index k = 0; k < columns; ++k) {
      const S sum = Chunk<S>::load(sums + (k * rows + n) * panel_width).sum();
      dx(n, first + k) = accumulate ? dx(n, first + k) + sum : sum;
    }
}

/// Many rows, at most inputs_at_once columns. The weight's panels are the left operand here, of tiles (inputs, tokens).
/// Partial sums stay in scratch while one group of panels after the other is added, so that w is read once.
template <class S, class W>
void tiles_input_gradient(View<const S> dy, const W& w, View<S> dx, Index first, Index columns, bool accumulate) {
  constexpr Index panels_at_once = panels_of_left, panels_packed = 32, tokens_at_once = 128, rows = TileShape<S>::rows;
  constexpr Index square = panel_width * panel_width;
  static_assert(panels_packed * tokens_at_once * panel_width <= half_of_packed<S> &&
                    panels_at_once * inputs_at_once * panel_width <= half_of_packed<S> &&
                    (inputs_at_once + rows) * tokens_at_once <= scratch_size,
                "moe: scratch is too small for so many tokens");
  // Tiles of `rows` inputs; the last one reaches back into the one before it, and beyond `first` if need be.
  const Index tiles = (columns + rows - 1) / rows, origin = (std::min)(first, first + columns - rows);
  const auto begin_of = [&](Index t) { return (std::min)(first + t * rows, first + columns - rows); };
  S *const packed = Scratch<S>::mine().packed.data(), *const sums = Scratch<S>::mine().second.data();
  PanelReader<W> panels(w, w.panels(), origin, first + columns - origin, packed + half_of_packed<S>, half_of_packed<S>);
  for (Index row = 0; row < dy.rows(); row += tokens_at_once) {
    const Index count = (std::min)(tokens_at_once, dy.rows() - row), blocks = (count + panel_width - 1) / panel_width;
    std::fill_n(sums, tiles * blocks * rows * panel_width, S(0));
    for (Index p0 = 0; p0 < w.panels(); p0 += panels_packed) {
      const Index end = (std::min)(p0 + panels_packed, w.panels());
      for (Index block = 0; block < blocks; ++block) {
        const Index token = block * panel_width, output = p0 * panel_width;
        pack_transposed<S>(dy.block(row + token, output, (std::min)(panel_width, count - token),
                                    (std::min)(end * panel_width, w.rows()) - output),
                           packed + block * panels_packed * square);
      }
      for (Index p = p0, together = 0; p < end; p += together) {
        const PanelRun<S> run = panels.run(p, (std::min)(p + panels_at_once, end));
        together = run.even();
        for (Index t = 0; t < tiles; ++t)
          multiply_panel_tiles<S>(run.first + (begin_of(t) - origin) * panel_width, together, run.stride, blocks,
                                  packed + (p - p0) * square, panels_packed * square,
                                  sums + t * blocks * rows * panel_width);
      }
    }
    alignas(64)
        S turned[(panel_width + 1) * panel_width];  // token by input; the last chunk read begins in its last row
    for (Index block = 0; block < blocks; ++block)  // tiles in the inner loop: they are neighbours in dx
      for (Index t = 0; t < tiles; ++t) {
        const Index known = first + t * rows - begin_of(t);  // inputs that the tile before this one has computed
        transpose_rows<S>(sums + (t * blocks + block) * rows * panel_width, panel_width, rows, panel_width, turned);
        put_tile<S>(turned + known, (std::min)(panel_width, count - block * panel_width), rows - known,
                    &dx(row + block * panel_width, first + t * rows), dx.outerStride(), accumulate);
      }
  }
}

/// So few inputs that they do not fill a tile: term by term.
template <class S, class W>
void plain_input_gradient(View<const S> dy, const W& w, View<S> dx, Index first, Index columns, bool accumulate) {
  PanelReader<W> panels(w, w.panels(), first, columns, Scratch<S>::mine().packed.data(), scratch_size);
  for (Index n = 0; n < dy.rows(); ++n)
    if (!accumulate) std::fill_n(&dx(n, first), columns, S(0));
  for (Index p = 0; p < w.panels();) {
    const PanelRun<S> run = panels.run(p, w.panels());
    for (Index i = 0; i < run.count; ++i, ++p)
      for (Index n = 0; n < dy.rows(); ++n)
        for (Index f = 0; f < (std::min)(panel_width, w.rows() - p * panel_width); ++f)
          for (Index d = 0; d < columns; ++d)
            dx(n, first + d) += dy(n, p * panel_width + f) * run(i)[d * panel_width + f];
  }
}

/// Columns first, ..., first + columns - 1 of dx = dy w, or dx += dy w. `first` is a multiple of panel_width, and so is
/// `columns` unless they reach the last one; those beyond are ignored.
template <class S, class W>
void panels_input_gradient(View<const S> dy, const W& w, View<S> dx, Index first, Index columns, bool accumulate) {
  const Index end = (std::min)(first + columns, w.cols());
  if (dy.rows() == 0) return;
  for (; first < end; first += inputs_at_once) {
    const Index part = (std::min)(inputs_at_once, end - first);
    if (dy.rows() <= rows_of_input_by_lane)
      lanes_input_gradient<S>(dy, w, dx, first, part, accumulate);
    else if (w.cols() < TileShape<S>::rows)
      plain_input_gradient<S>(dy, w, dx, first, part, accumulate);
    else
      tiles_input_gradient<S>(dy, w, dx, first, part, accumulate);
  }
}

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE void panels_input_gradient<float, Weights<float>>(View<const float>, const Weights<float>&,
                                                                      View<float>, Index, Index, bool);
MOE_DETAIL_INSTANCE void panels_input_gradient<double, Weights<double>>(View<const double>, const Weights<double>&,
                                                                        View<double>, Index, Index, bool);
#endif

}  // namespace detail

MOE_NAMESPACE_END
