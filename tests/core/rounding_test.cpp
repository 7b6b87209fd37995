#include "moe/core/rounding.hpp"

#include <gtest/gtest.h>

namespace moe {
namespace rounding_test {

TEST(Rounding, EachRuleHasItsNumbers) {
  EXPECT_EQ(detail::rounded(2.9, Rounding::down), 2);
  EXPECT_EQ(detail::rounded(2.1, Rounding::up), 3);
  EXPECT_EQ(detail::rounded(2.4, Rounding::nearest), 2);
  EXPECT_EQ(detail::rounded(2.6, Rounding::nearest), 3);
  for (const Rounding rounding : {Rounding::down, Rounding::up, Rounding::nearest})
    EXPECT_EQ(detail::rounded(2, rounding), 2);
}

TEST(Rounding, NearestGoesToEvenAtAHalf) {
  EXPECT_EQ(detail::rounded(0.5, Rounding::nearest), 0);
  EXPECT_EQ(detail::rounded(1.5, Rounding::nearest), 2);
  EXPECT_EQ(detail::rounded(2.5, Rounding::nearest), 2);
}

TEST(Rounding, UpToAMultiple) {
  EXPECT_EQ(detail::rounded_up(0, 4), 0);
  EXPECT_EQ(detail::rounded_up(1, 4), 4);
  EXPECT_EQ(detail::rounded_up(4, 4), 4);
  EXPECT_EQ(detail::rounded_up(5, 4), 8);
  EXPECT_EQ(detail::rounded_up(7, 1), 7);
}

}  // namespace rounding_test
}  // namespace moe
