// The k best of a row, by comparison alone: a tie goes to the lower index, NaN ranks as -infinity, and the chosen
// indices are always k different ones within range. Integers are compared, whose order is that of the numbers: no
// compiler flag changes what NaN and infinities among them mean.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <type_traits>

#include "moe/core/chunk.hpp"
#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
S selection_key(S value) {
  return has_nan_bits(value) ? -std::numeric_limits<S>::infinity() : value;
}

/// float and double: what is larger gets the larger integer, both zeros 0, NaN what -infinity gets. Of other types the
/// key itself.
template <class S>
auto selection_rank(S value) {
  if constexpr (has_known_bits<S>) {
    using Rank = std::make_signed_t<BitsOf<S>>;
    constexpr auto infinity = static_cast<Rank>(bits_of_infinity<S>);
    const auto bits = std::bit_cast<Rank>(value);
    const Rank magnitude = bits & (std::numeric_limits<Rank>::max)();
    const Rank rank = bits < 0 ? -magnitude : magnitude;
    return magnitude > infinity ? -infinity : rank;
  } else {
    return selection_key(value);
  }
}

/// For a row of one chunk: each number's place is the number of those that come before it. Loops of a fixed number of
/// integers, here and below: compilers make packet code of them.
template <class S>
void top_k_by_counting(const S* values, Index count, Index k, Index* chosen) {
  using Rank = decltype(selection_rank(S()));
  constexpr auto width = static_cast<Rank>(panel_width);
  std::array<Rank, panel_width> ranks, places{};
  S row[panel_width];
  load_chunk(values, count, S(0)).store(row);
  for (Index i = 0; i < panel_width; ++i) ranks[static_cast<std::size_t>(i)] = selection_rank(row[i]);
  for (Index other = 0; other < count; ++other) {
    const Rank rank = ranks[static_cast<std::size_t>(other)];
    for (Rank i = 0; i < width; ++i)  // of equals the earlier, hence the 1
      places[static_cast<std::size_t>(i)] +=
          rank > ranks[static_cast<std::size_t>(i)] - (i > static_cast<Rank>(other) ? 1 : 0) ? 1 : 0;
  }
  std::array<Index, panel_width> order;
  for (Index i = 0; i < count; ++i) order[static_cast<std::size_t>(places[static_cast<std::size_t>(i)])] = i;
  std::copy_n(order.begin(), k, chosen);
}

/// For longer rows and small k: the ranks in blocks, and the largest of each block, which shows where the next choice
/// is.
template <class Rank>
class BlockedRanks {
 public:
  static constexpr Index block = 64, most_blocks = 16, most = block * most_blocks;

  template <class S>
  BlockedRanks(const S* values, Index count) : blocks_((count + block - 1) / block) {
    for (Index begin = 0; begin < blocks_ * block; begin += panel_width) {
      const Index size = std::clamp(count - begin, Index{0}, panel_width);
      S row[panel_width] = {};
      if (size > 0) load_chunk(values + begin, size, S(0)).store(row);
      Rank* ranks = ranks_.data() + begin;
      for (Rank i = 0; i < static_cast<Rank>(panel_width); ++i)
        ranks[i] = i < static_cast<Rank>(size) ? selection_rank(row[i]) : taken;
    }
    for (Index b = 0; b < blocks_; ++b) best_[at(b)] = largest_of(ranks_.data() + b * block);
  }

  Index take_best() {
    Index b = 0;
    Rank best = best_[0];
    for (Index other = 1; other < blocks_; ++other) {
      const bool is_better = best_[at(other)] > best;
      b = is_better ? other : b;
      best = is_better ? best_[at(other)] : best;
    }
    Rank* ranks = ranks_.data() + b * block;
    const Rank place = first_of(ranks, best);
    ranks[place] = taken;
    best_[at(b)] = largest_of(ranks);
    return b * block + static_cast<Index>(place);
  }

 private:
  static constexpr Rank taken = (std::numeric_limits<Rank>::min)();  // less than the rank of any number
  static constexpr std::size_t at(Index i) { return static_cast<std::size_t>(i); }

  static Rank first_of(const Rank* ranks, Rank rank) {
    Rank first = block - 1;
    for (Rank i = 0; i < block; ++i) {
      const Rank place = ranks[i] == rank ? i : Rank{block};
      first = place < first ? place : first;
    }
    return first;
  }

  static Rank largest_of(const Rank* ranks) {
    Rank best = taken;
    for (Rank i = 0; i < block; ++i) best = ranks[i] > best ? ranks[i] : best;
    return best;
  }

  Index blocks_;
  std::array<Rank, at(most)> ranks_;
  std::array<Rank, at(most_blocks)> best_;
};

/// For any row: a sort if all are wanted, else a heap of the k best so far, the worst of them on top.
template <class S>
void top_k_by_heap(const S* values, Index count, Index k, Index* chosen) {
  const auto comes_first = [values](Index a, Index b) {
    const auto rank_a = selection_rank(values[a]), rank_b = selection_rank(values[b]);
    return rank_a != rank_b ? rank_a > rank_b : a < b;
  };
  std::iota(chosen, chosen + k, Index{0});
  if (k == count) return std::sort(chosen, chosen + k, comes_first);
  std::make_heap(chosen, chosen + k, comes_first);
  auto worst = selection_rank(values[chosen[0]]);
  for (Index i = k; i < count; ++i) {
    if (!(selection_rank(values[i]) > worst)) continue;
    std::pop_heap(chosen, chosen + k, comes_first);
    chosen[k - 1] = i;
    std::push_heap(chosen, chosen + k, comes_first);
    worst = selection_rank(values[chosen[0]]);
  }
  std::sort_heap(chosen, chosen + k, comes_first);
}

/// chosen[0 .. k - 1] = the indices of the k largest of `count` values, best first. 0 <= k <= count.
template <class S>
void top_k(const S* values, Index count, Index k, Index* chosen) {
  using Rank = decltype(selection_rank(S()));
  if (count == 0) return;
  if constexpr (std::is_integral_v<Rank>) {
    if (count <= panel_width) return top_k_by_counting(values, count, k, chosen);
    if (k <= 2 * panel_width && count <= BlockedRanks<Rank>::most) {
      BlockedRanks<Rank> ranks(values, count);
      for (Index i = 0; i < k; ++i) chosen[i] = ranks.take_best();
      return;
    }
  }
  if (k > 0) top_k_by_heap(values, count, k, chosen);
}

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE void top_k<float>(const float*, Index, Index, Index*);
MOE_DETAIL_INSTANCE void top_k<double>(const double*, Index, Index, Index*);
#endif

}  // namespace detail

MOE_NAMESPACE_END
