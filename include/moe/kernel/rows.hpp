// Rows that lie anywhere in a matrix, one after the other. Processors prefetch along a row, but cannot know where the
// next one lies: it is prefetched here, while this one is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/compiler.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/view.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The rows of a matrix that a list names, in its order; both outlive this.
template <class S>
class ListedRows {
 public:
  ListedRows(View<const S> rows, const std::vector<Index>& list)
      : rows_(rows.data()), stride_(rows.outerStride()), width_(rows.cols()), list_(&list) {}

  /// to = scale * row i of the list.
  void copy(Index i, S scale, S* to) const {
    read(i, [&](const Chunk<S>& row, Index k, Index count) { store_chunk<S>(scale * row, to + k, count); });
  }

  /// to += scale * row i of the list.
  void add(Index i, S scale, S* to) const {
    read(i, [&](const Chunk<S>& row, Index k, Index count) {
      store_chunk<S>(load_chunk(to + k, count, S(0)) + scale * row, to + k, count);
    });
  }

 private:
  const S* row(std::size_t i) const { return rows_ + (*list_)[i] * stride_; }

  template <class F>
  EIGEN_ALWAYS_INLINE void read(Index i, F&& f) const {
    const auto at = static_cast<std::size_t>(i);
    const S *const here = row(at), *const next = at + 1 < list_->size() ? row(at + 1) : here;
    for_each_chunk(width_, [&](Index k, Index count) {
      constexpr std::uintptr_t line = 64, chunk = panel_width * sizeof(S);
      for (std::uintptr_t bytes = 0; bytes < chunk; bytes += line)
        MOE_DETAIL_PREFETCH(next, static_cast<std::uintptr_t>(k) * sizeof(S) + bytes);
      f(load_chunk(here + k, count, S(0)), k, count);
    });
  }

  const S* rows_;
  Index stride_, width_;
  const std::vector<Index>* list_;
};

}  // namespace detail

MOE_NAMESPACE_END
