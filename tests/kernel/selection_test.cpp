#include "moe/kernel/selection.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "support/matrices.hpp"

namespace moe {
namespace {

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

}  // namespace
}  // namespace moe
