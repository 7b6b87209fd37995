#include "moe/kernel/selection.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "moe/core/random.hpp"

#include "support/matrices.hpp"

namespace moe {
namespace selection_test {

using support::infinity_of;
using support::nan_of;
using Indices = std::vector<Index>;

Indices top(const std::vector<float>& values, Index k) {
  Indices chosen(static_cast<std::size_t>(k), -1);
  detail::top_k(values.data(), static_cast<Index>(values.size()), k, chosen.data());
  return chosen;
}

TEST(Selection, TheBestComeFirst) { EXPECT_EQ(top({1, 5, 3, 4}, 3), (Indices{1, 3, 2})); }

TEST(Selection, ATieGoesToTheLowerIndex) {
  EXPECT_EQ(top({2, 2, 2, 2}, 2), (Indices{0, 1}));
  EXPECT_EQ(top({1, 3, 3, 1, 3}, 4), (Indices{1, 2, 4, 0}));
}

TEST(Selection, ZeroAndMinusZeroAreATie) { EXPECT_EQ(top({-0.0f, 0.0f}, 1), (Indices{0})); }

TEST(Selection, NaNRanksAsMinusInfinity) {
  EXPECT_EQ(top({nan_of<float>, 1, -infinity_of<float>, 2}, 4), (Indices{3, 1, 0, 2}));
}

TEST(Selection, ARowOfNothingButNaNGivesDifferentIndicesInRange) {
  EXPECT_EQ(top(std::vector<float>(5, nan_of<float>), 3), (Indices{0, 1, 2}));
}

TEST(Selection, InfinityIsTheBest) { EXPECT_EQ(top({3e38f, infinity_of<float>, 1}, 2), (Indices{1, 0})); }

TEST(Selection, AllOfThemIsASort) { EXPECT_EQ(top({3, 1, 2}, 3), (Indices{0, 2, 1})); }

TEST(Selection, ARowLongerThanAChunkIsSearchedToItsEnd) {
  std::vector<float> values(40, 1);
  values[39] = 3, values[17] = 2, values[33] = nan_of<float>;
  EXPECT_EQ(top(values, 4), (Indices{39, 17, 0, 1}));
  EXPECT_EQ(top(values, 40).back(), 33);
}

/// The same by a stable sort.
template <class S>
Indices sorted(const std::vector<S>& values, Index k) {
  Indices order(values.size());
  std::iota(order.begin(), order.end(), Index{0});
  const auto key = [&](Index i) { return detail::selection_key(values[static_cast<std::size_t>(i)]); };
  std::sort(order.begin(), order.end(), [&](Index a, Index b) { return key(a) != key(b) ? key(a) > key(b) : a < b; });
  order.resize(static_cast<std::size_t>(k));
  return order;
}

/// Rows of every way to select: one chunk, blocks, a heap; few different values, so that there are ties, and odd ones.
template <class S>
void expect_a_stable_sort() {
  std::mt19937_64 rng(2);
  const std::vector<S> odd{nan_of<S>,
                           -nan_of<S>,
                           infinity_of<S>,
                           -infinity_of<S>,
                           S(0),
                           -S(0),
                           std::numeric_limits<S>::denorm_min(),
                           (std::numeric_limits<S>::max)()};
  for (const Index count : {1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 128, 200, 1000, 1023, 1024, 1025, 3000})
    for (const Index k : {1, 2, 8, 32, 33, 500, 3000}) {
      const Index limit = (std::min)(k, count);
      std::vector<S> few, many;
      for (Index i = 0; i < count; ++i) {
        const Index draw = detail::random_index(rng, 12);
        few.push_back(draw < std::ssize(odd) ? odd[static_cast<std::size_t>(draw)] : S(draw));
        many.push_back(static_cast<S>(detail::random_normal(rng)));
      }
      for (const std::vector<S>& values : {few, many, std::vector<S>(few.size(), nan_of<S>)}) {
        Indices chosen(static_cast<std::size_t>(limit), -1);
        detail::top_k(values.data(), count, limit, chosen.data());
        EXPECT_EQ(chosen, sorted(values, limit)) << limit << " of " << count;
      }
    }
}

TEST(Selection, IsWhatAStableSortGives) {
  expect_a_stable_sort<float>();
  expect_a_stable_sort<double>();
  expect_a_stable_sort<long double>();
}

TEST(Selection, NoneOfThemTouchesNothing) {
  const float value = 1;
  detail::top_k(&value, Index{1}, Index{0}, static_cast<Index*>(nullptr));
}

template <class S>
void expect_bits_tell_what_is_finite() {
  for (const S value : {S(0), S(-1), (std::numeric_limits<S>::max)(), std::numeric_limits<S>::denorm_min()}) {
    EXPECT_TRUE(detail::has_finite_bits(value));
    EXPECT_FALSE(detail::has_nan_bits(value));
  }
  for (const S value : {infinity_of<S>, -infinity_of<S>}) {
    EXPECT_FALSE(detail::has_finite_bits(value));
    EXPECT_FALSE(detail::has_nan_bits(value));
  }
  for (const S value : {nan_of<S>, -nan_of<S>}) {
    EXPECT_FALSE(detail::has_finite_bits(value));
    EXPECT_TRUE(detail::has_nan_bits(value));
  }
}

TEST(Selection, TheBitsTellNaNAndInfinityFromFiniteNumbers) {
  expect_bits_tell_what_is_finite<float>();
  expect_bits_tell_what_is_finite<double>();
  expect_bits_tell_what_is_finite<long double>();
}

}  // namespace selection_test
}  // namespace moe
