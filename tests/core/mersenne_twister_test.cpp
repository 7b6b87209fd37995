#include "moe/core/mersenne_twister.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>

namespace moe {
namespace mersenne_twister_test {

TEST(MersenneTwister, DrawsTheStandardsNumbers) {
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{5489}, std::uint64_t{42}, ~std::uint64_t{0}}) {
    detail::MersenneTwister own(seed);
    std::mt19937_64 standard(seed);
    for (int i = 0; i < 2000; ++i) ASSERT_EQ(own(), standard()) << "seed " << seed << ", draw " << i;
  }
}

/// The number that the standard itself names ([rand.predef]).
TEST(MersenneTwister, TheTenThousandthNumberIsTheStandards) {
  detail::MersenneTwister generator(std::mt19937_64::default_seed);
  for (int i = 1; i < 10000; ++i) generator();
  EXPECT_EQ(generator(), 9981545732273789042u);
}

TEST(MersenneTwister, AStateThatIsSetDrawsOnFromThere) {
  detail::MersenneTwister one(1), other(2);
  for (int i = 0; i < 500; ++i) one();
  other.state() = one.state();
  for (int i = 0; i < 500; ++i) ASSERT_EQ(one(), other());
}

/// A file may hold any numbers.
TEST(MersenneTwister, NoStateReadsBeyondItsWords) {
  detail::MersenneTwister full(1), beyond(1);
  beyond.state().back() = ~std::uint64_t{0};
  for (int i = 0; i < 400; ++i) ASSERT_EQ(full(), beyond());
}

}  // namespace mersenne_twister_test
}  // namespace moe
