// y = x w' + b for a weight w that lies in panels (moe/core/weights.hpp), or for several weights of one shape at once.
// A call works on a range of w's outputs, so that one expert's product can be many tasks. The order in which an entry's
// terms are added depends on nothing but the number of inputs.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>

#include "moe/core/chunk.hpp"
#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/core/function_ref.hpp"
#include "moe/core/weights.hpp"
#include "moe/kernel/decoded_tiles.hpp"
#include "moe/kernel/few_rows.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/kernel/panel_reader.hpp"
#include "moe/kernel/scratch.hpp"
#include "moe/kernel/tiles.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Rows that a small expert is to take through its stages at once, so that what one stage writes is still in the
/// second-level cache when the next one reads it, beside what is packed: of an expert of so many weights, `widest`
/// input or hidden units. 0: all rows take one stage after the other, since weights that leave the caches would be read
/// once for each block.
template <class S>
Index rows_of_block(Index weights, Index widest) {
  constexpr Index few = (Index{1} << 22) / static_cast<Index>(sizeof(S));
  return weights <= few ? rows_at_once(widest) / 2 : 0;
}

/// Where the sums of a tile and a panel belong, and which part of all their terms they are the sums of.
struct SumsPlace {
  Index row, rows;      ///< `rows` rows from `row` on.
  Index column, width;  ///< `width` columns, panel_width at most, from `column` on.
  bool first_part, last_part;
};

/// What is made of sums: sums[i] are those of weight i, (place.rows, panel_width).
template <class S>
using TakeSums = FunctionRef<void(const SumsPlace& place, const S* const* sums)>;

/// Calls take(place, sums) for each tile of rows of x, each panel of columns first, ..., first + columns - 1 and each
/// part of the terms in turn, with the sums of x w' for each of the weights, which are of one shape: what they share is
/// packed once, and what is made of them is made while they are near. `take` writes to `outputs` there. `first` is a
/// multiple of panel_width, and so is `columns` unless they reach the last one; those beyond are ignored.
template <class S, class W>
void panels_sums(View<const S> x, std::initializer_list<const W*> weights, Index first, Index columns,
                 std::initializer_list<View<S>> outputs, TakeSums<S> take) {
  constexpr std::size_t most = RightPanels<S>::most_weights;
  static_assert(static_cast<Index>(most) * panel_width * longest_sum <= scratch_size,
                "moe: scratch is too small for so many weights");
  eigen_assert(weights.size() <= most);
  const W* const* const weight = weights.begin();
  const auto together = static_cast<Index>(weights.size());
  const Index size_of_each = scratch_size / together;
  const Index outputs_of_w = weight[0]->rows(), inputs = weight[0]->cols();
  columns = (std::min)(columns, outputs_of_w - first);
  if (columns <= 0 || x.rows() == 0) return;
  const Index p_begin = first / panel_width, p_end = (first + columns + panel_width - 1) / panel_width;
  const EvenParts depths{inputs, longest_sum};
  const auto place = [&](Index row, Index rows, Index p, Index part) -> SumsPlace {
    const Index column = p * panel_width;
    return {row, rows, column, (std::min)(panel_width, outputs_of_w - column), part == 0, part + 1 == depths.count()};
  };
  if constexpr (LiesInBlocks<W>) {
    if (x.rows() <= rows_by_block) {
      for (Index part = 0; part < depths.count(); ++part) {
        const Index k = depths.begin(part), depth = depths.size(part);
        multiply_few_rows<W>(x.block(0, k, x.rows(), depth), weights, p_begin, p_end, k, depth,
                             [&](Index p, const S* const* sums) { take(place(0, x.rows(), p, part), sums); });
      }
      return;
    }
  }
  Index rows_packed = rows_at_once((std::min)(inputs, longest_sum));
  if constexpr (!LiesInPanels<W>) rows_packed = (std::min)(rows_packed, rows_decoded);
  const EvenParts chunks{x.rows(), rows_packed};
  S *const packed = Scratch<S>::mine().packed.data(), *const scratch = Scratch<S>::mine().second.data();
  for (Index part = 0; part < depths.count(); ++part) {
    const Index k0 = depths.begin(part), depth = depths.size(part);
    std::array<PanelReader<W>, most> readers;
    if constexpr (LiesInPanels<W>)
      for (std::size_t i = 0; i < weights.size(); ++i)
        readers[i] = {*weight[i], p_end, k0, depth, scratch + static_cast<Index>(i) * size_of_each, size_of_each};
    for (Index chunk = 0; chunk < chunks.count(); ++chunk) {
      const Index row = chunks.begin(chunk);
      const PackedRows<S> left{packed, EvenParts{chunks.size(chunk), TileShape<S>::rows}, LeftOrder::rows, depth};
      pack_rows<S>(x.block(row, k0, left.tiles.total(), depth), left.tiles, packed);
      const auto take_tile = [&](Index p, Index tile, const S* const* sums) {
        take(place(row + left.tiles.begin(tile), left.tiles.size(tile), p, part), sums);
      };
      if constexpr (LiesInPanels<W>) {
        RightPanels<S> right;
        right.weights = together;
        for (std::size_t i = 0; i < weights.size(); ++i) right.runs[i] = readers[i].run(p_begin, p_end);
        const Outputs<S> lines{outputs.begin(), outputs.size(), row, p_begin * panel_width};
        for (TileWalk<S> walk(left, right, {}, lines); walk.next();)
          for (Index i = 0; i < walk.panels(); i += together)
            take_tile(p_begin + (walk.first_panel() + i) / together, walk.tile(), walk.sums_from(i));
      } else {
        multiply_decoded<S, W>(left, weights, p_begin, p_end, k0, take_tile);
      }
    }
  }
}

/// y = sums + b (empty: none) for the first part of the terms, y += sums for the others, in one row at that place.
/// Returns y.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> add_sums(const SumsPlace& place, const S* sums, const Vector<S>& b, S* y) {
  Chunk<S> so_far = S(0);
  if (!place.first_part)
    so_far = load_chunk(y, place.width, S(0));
  else if (b.size() > 0)
    so_far = load_chunk(b.data() + place.column, place.width, S(0));
  so_far += Chunk<S>::load(sums);
  store_chunk<S>(so_far, y, place.width);
  return so_far;
}

/// Columns first, ..., first + columns - 1 of y = x w' + b (empty: none).
template <class S, class W>
void panels_forward(View<const S> x, const W& w, const Vector<S>& b, View<S> y, Index first, Index columns) {
  panels_sums<S, W>(x, {&w}, first, columns, {y}, [&](const SumsPlace& at, const S* const* sums) {
    for (Index i = 0; i < at.rows; ++i) add_sums<S>(at, sums[0] + i * panel_width, b, &y(at.row + i, at.column));
  });
}

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE void panels_sums<float, Weights<float>>(View<const float>,
                                                            std::initializer_list<const Weights<float>*>, Index, Index,
                                                            std::initializer_list<View<float>>, TakeSums<float>);
MOE_DETAIL_INSTANCE void panels_sums<double, Weights<double>>(View<const double>,
                                                              std::initializer_list<const Weights<double>*>, Index,
                                                              Index, std::initializer_list<View<double>>,
                                                              TakeSums<double>);
MOE_DETAIL_INSTANCE void panels_forward<float, Weights<float>>(View<const float>, const Weights<float>&,
                                                               const Vector<float>&, View<float>, Index, Index);
MOE_DETAIL_INSTANCE void panels_forward<double, Weights<double>>(View<const double>, const Weights<double>&,
                                                                 const Vector<double>&, View<double>, Index, Index);
#endif

}  // namespace detail

MOE_NAMESPACE_END
