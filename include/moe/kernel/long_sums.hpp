// Sums of many terms. Added up one after the other in float, a million equal terms are off by a fifth; here a run of
// terms is added up in the scalar type, and the runs in a wider one. Which terms make a run depends on their number
// alone.
#pragma once

#include <algorithm>
#include <type_traits>

#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// In which sums over tokens are kept: double, or S where S is wider.
template <class S>
using Wide = std::conditional_t<(sizeof(S) > sizeof(double)), S, double>;

/// So many terms are added up in the scalar type itself, at most.
inline constexpr Index longest_run = 256;
/// So many sums of runs are added up in the scalar type itself, where the sums are too many to be kept in a wider one.
inline constexpr Index runs_together = 32;

/// to (columns) += the terms of all rows: add(row, first, count, sums) adds those of columns first .. first + count - 1
/// to `sums`, which has whole chunks, and returns true, or false for a row that has none.
template <class S, class F>
EIGEN_ALWAYS_INLINE void add_terms(Index rows, Index columns, S* to, const F& add) {
  constexpr Index width = 256;  // whose sums stay in the first-level cache
  for (Index first = 0; first < columns; first += width) {
    const Index count = (std::min)(width, columns - first);
    Wide<S> totals[width];
    std::fill_n(totals, count, Wide<S>(0));
    for (Index row = 0; row < rows;) {
      S sums[width] = {};
      for (Index run = 0; run < longest_run && row < rows; ++row) run += add(row, first, count, sums) ? 1 : 0;
      for (Index j = 0; j < count; ++j) totals[j] += static_cast<Wide<S>>(sums[j]);
    }
    for (Index j = 0; j < count; ++j) to[first + j] += static_cast<S>(totals[j]);
  }
}

/// to (columns) += the sum of the rows.
template <class S>
void add_column_sums(View<const S> rows, S* to) {
  add_terms<S>(rows.rows(), rows.cols(), to, [&](Index row, Index first, Index count, S* sums) {
    const S* from = rows.row(row) + first;
    for_each_chunk(count, [&](Index j, Index values) {
      (Chunk<S>::load(sums + j) + load_chunk(from + j, values, S(0))).store(sums + j);
    });
    return true;
  });
}

/// to += the row, in the wider type.
template <class S>
void add_wide(const S* row, Index size, Wide<S>* to) {
  for (Index i = 0; i < size; ++i) to[i] += static_cast<Wide<S>>(row[i]);
}

}  // namespace detail

MOE_NAMESPACE_END
