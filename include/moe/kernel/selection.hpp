// The k best of a row, by comparison alone: a tie goes to the lower index, NaN ranks as -infinity, and the chosen
// indices are always k different ones within range.
#pragma once

#include <limits>

#include "moe/core.hpp"
#include "moe/kernel/chunk.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
S selection_key(S value) {
  return has_nan_bits(value) ? -std::numeric_limits<S>::infinity() : value;
}

/// chosen[0 .. k - 1] = the indices of the k largest of `count` values, best first. 0 <= k <= count.
template <class S>
void top_k(const S* values, Index count, Index k, Index* chosen) {
  if (k == 0) return;
  Index filled = 0;
  S worst = 0;  // of the chosen, once there are k
  for_each_chunk(count, [&](Index begin, Index size) {
    if (filled == k && size == chunk_size && !(load_chunk(values + begin, size, S(0)) > worst).any()) return;
    for (Index i = begin; i < begin + size; ++i) {
      const S key = selection_key(values[i]);
      // Strictly larger: of equals, the one met first, that is of the lower index, stays ahead.
      if (filled == k && !(key > worst)) continue;
      Index place = filled < k ? filled++ : k - 1;
      for (; place > 0 && key > selection_key(values[chosen[place - 1]]); --place) chosen[place] = chosen[place - 1];
      chosen[place] = i;
      if (filled == k) worst = selection_key(values[chosen[k - 1]]);
    }
  });
}

}  // namespace detail

MOE_NAMESPACE_END
