// dw += dy' x for a weight's gradient that lies in panels (moe/core/weights.hpp), and db += the sum of dy's rows. A
// call works on a range of w's outputs. The order in which an entry's terms are added depends on nothing but the number
// of rows.
#pragma once

#include <algorithm>

#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/core/weights.hpp"
#include "moe/kernel/lanes.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/scratch.hpp"
#include "moe/kernel/tiles.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index rows_of_gradient = 256;     // packed at once
inline constexpr Index columns_of_gradient = 512;  // of them

/// More rows than rows_of_weight_by_lane, of at most columns_of_gradient columns: tiles (inputs, outputs), whose sums
/// are dw's own panels.
template <class S>
void tiles_weight_gradient(View<const S> dy, View<const S> x, Weights<S>& dw, Index p_begin, Index p_end) {
  static_assert(rows_of_gradient * columns_of_gradient <= scratch_size, "moe: scratch is too small for so many rows");
  S *const packed = Scratch<S>::mine().packed.data(), *const panels = Scratch<S>::mine().second.data();
  const Index full_panels = (std::min)(p_end, dw.rows() / panel_width) - p_begin;
  const EvenParts chunks{x.rows(), rows_of_gradient}, blocks{x.cols(), columns_of_gradient};
  for (Index chunk = 0; chunk < chunks.count(); ++chunk) {
    const Index row = chunks.begin(chunk), depth = chunks.size(chunk), panel_size = panel_width * depth;
    for (Index p = p_begin; p < p_end; ++p)
      pack_panel<S>(dy.block(row, p * panel_width, depth, dw.width_of_panel(p)), panels + (p - p_begin) * panel_size);
    RightPanels<S> right;
    right.runs[0] = PanelRun<S>::even_run(panels, panel_size, p_end - p_begin);
    for (Index block = 0; block < blocks.count(); ++block) {
      const Index column = blocks.begin(block);
      const PackedRows<S> left{packed, EvenParts{blocks.size(block), TileShape<S>::rows}, LeftOrder::columns, depth};
      pack_columns<S>(x.block(row, column, depth, left.tiles.total()), left.tiles, packed);
      const SumsInMemory<S> target{dw.panel(p_begin) + column * panel_width, panel_width * dw.cols(), full_panels};
      for (TileWalk<S> walk(left, right, target); walk.next();)
        if (const Index last = walk.panels() - 1; !walk.in_memory(last)) {  // the narrow panel
          const Index p = p_begin + walk.first_panel() + last, width = dw.width_of_panel(p);
          put_tile(walk.sums(last), left.tiles.size(walk.tile()), width,
                   dw.panel(p) + (column + left.tiles.begin(walk.tile())) * width, width, true);
        }
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
    if (db.size() > 0)
      for (Index n = 0; n < dy.rows(); ++n)
        for (Index j = first; j < part_end; ++j) db[j] += dy(n, j);
    const Index p_begin = first / panel_width, p_end = (part_end + panel_width - 1) / panel_width;
    if (x.cols() == 0) continue;
    if (dy.rows() > rows_of_weight_by_lane) {
      tiles_weight_gradient<S>(dy, x, dw, p_begin, p_end);
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
