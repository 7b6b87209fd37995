// dw += dy' x for a weight's gradient that lies in panels (moe/core/weights.hpp), and db += the sum of dy's rows. A
// call works on a range of w's outputs. The order in which an entry's terms are added depends on nothing but the number
// of rows.
#pragma once

#include <algorithm>

#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/core/weights.hpp"
#include "moe/kernel/lanes.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/scratch.hpp"
#include "moe/kernel/tiles.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index rows_of_gradient = 256;     // packed at once
inline constexpr Index columns_of_gradient = 512;  // of them

/// Panels of a weight's gradient: panel p is (inputs, width(p)).
template <class S>
struct GradientPanels {
  S* data;
  Index outputs, inputs;

  Index count() const { return (outputs + panel_width - 1) / panel_width; }
  Index width(Index p) const { return (std::min)(panel_width, outputs - p * panel_width); }
  S* entry(Index p, Index input) const { return data + p * panel_width * inputs + input * width(p); }
};

/// More rows than rows_of_weight_by_lane, of at most columns_of_gradient columns: tiles (inputs, outputs), which are
/// added to dw's own panels.
template <class S>
void tiles_weight_gradient(View<const S> dy, View<const S> x, const GradientPanels<S>& dw) {
  static_assert(rows_of_gradient * columns_of_gradient <= scratch_size, "moe: scratch is too small for so many rows");
  S *const packed = Scratch<S>::mine().packed.data(), *const panels = Scratch<S>::mine().second.data();
  const EvenParts chunks{x.rows(), rows_of_gradient}, blocks{x.cols(), columns_of_gradient};
  const Sums mode = chunks.count() == 1 ? Sums::go_on : Sums::add;  // few rows are faster when they go on
  for (Index chunk = 0; chunk < chunks.count(); ++chunk) {
    const Index row = chunks.begin(chunk), depth = chunks.size(chunk), panel_size = panel_width * depth;
    for (Index p = 0; p < dw.count(); ++p)
      pack_panel<S>(dy.block(row, p * panel_width, depth, dw.width(p)), panels + p * panel_size);
    RightPanels<S> right;
    right.runs[0] = PanelRun<S>::even_run(panels, panel_size, dw.count());
    for (Index block = 0; block < blocks.count(); ++block) {
      const Index column = blocks.begin(block);
      const PackedRows<S> left{packed, EvenParts{blocks.size(block), TileShape<S>::rows}, LeftOrder::columns, depth};
      pack_columns<S>(x.block(row, column, depth, left.tiles.total()), left.tiles, packed);
      const SumsInMemory<S> target{dw.data + column * panel_width, panel_width * dw.inputs, dw.outputs / panel_width,
                                   mode};
      for (TileWalk<S> walk(left, right, target); walk.next();)
        if (const Index last = walk.panels() - 1; !walk.in_memory(last)) {  // the narrow panel
          const Index p = walk.first_panel() + last, width = dw.width(p);
          put_tile(walk.sums(last), left.tiles.size(walk.tile()), width,
                   dw.entry(p, column + left.tiles.begin(walk.tile())), width, true);
        }
    }
  }
}

/// The same, of very many rows too: those of up to runs_together chunks are added up in scratch, and these in dw.
template <class S>
void long_weight_gradient(View<const S> dy, View<const S> x, const GradientPanels<S>& dw) {
  const EvenParts parts{x.rows(), runs_together * rows_of_gradient};
  if (parts.count() == 1) return tiles_weight_gradient<S>(dy, x, dw);
  constexpr Index inputs_of_scratch = scratch_size / columns_of_gradient;
  for (Index column = 0; column < x.cols(); column += inputs_of_scratch) {
    const GradientPanels<S> sums{Scratch<S>::mine().sums.data(), dw.outputs,
                                 (std::min)(inputs_of_scratch, x.cols() - column)};
    for (Index part = 0; part < parts.count(); ++part) {
      const Index row = parts.begin(part), rows = parts.size(part);
      std::fill_n(sums.data, sums.outputs * sums.inputs, S(0));
      tiles_weight_gradient<S>(dy.block(row, 0, rows, dy.cols()), x.block(row, column, rows, sums.inputs), sums);
      for (Index p = 0; p < dw.count(); ++p)
        add_scaled_row(S(1), sums.entry(p, 0), sums.inputs * dw.width(p), dw.entry(p, column));
    }
  }
}

/// Rows first, ..., first + columns - 1 of dw += dy' x, and those entries of db (empty: none) += the sum of dy's rows.
/// `first` is a multiple of panel_width, and so is `columns` unless they reach the last row of dw; those beyond are
/// ignored.
template <class S>
void panels_weight_gradient(View<const S> dy, View<const S> x, Weights<S>& dw, Vector<S>& db, Index first,
                            Index columns) {
  const Index end = (std::min)(first + columns, dw.rows());
  if (dy.rows() == 0) return;
  for (; first < end; first += columns_of_gradient) {
    const Index part_end = (std::min)(first + columns_of_gradient, end);
    if (db.size() > 0) add_column_sums<S>(dy.block(0, first, dy.rows(), part_end - first), db.data() + first);
    const Index p_begin = first / panel_width, p_end = (part_end + panel_width - 1) / panel_width;
    if (x.cols() == 0) continue;
    if (dy.rows() > rows_of_weight_by_lane) {
      long_weight_gradient<S>(dy.block(0, first, dy.rows(), part_end - first), x,
                              {dw.panel(p_begin), part_end - first, x.cols()});
    } else {
      const auto add_outer_products = LanesOfRows<S>::add_outer(dy.rows());
      for (Index p = p_begin; p < p_end; ++p)
        add_outer_products(dy.data() + p * panel_width, dy.outerStride(), x.data(), x.outerStride(), x.cols(),
                           dw.width_of_panel(p), dw.panel(p));
    }
  }
}

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE void panels_weight_gradient<float>(View<const float>, View<const float>, Weights<float>&,
                                                       Vector<float>&, Index, Index);
MOE_DETAIL_INSTANCE void panels_weight_gradient<double>(View<const double>, View<const double>, Weights<double>&,
                                                        Vector<double>&, Index, Index);
#endif

}  // namespace detail

MOE_NAMESPACE_END
