#include "moe/core/random.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>

#include "support/expect_invalid.hpp"

namespace moe {
namespace random_test {

TEST(Random, UniformIsTheTopBitsOfTheStandardsGenerator) {
  // The first output of mt19937_64 with the seed 5489 is 14514284786278117030.
  Random random(5489);
  EXPECT_EQ(random.uniform(), std::ldexp(static_cast<double>(14514284786278117030u >> 11), -53));
}

TEST(Random, TwoOutputsOfA32BitGeneratorMake64Bits) {
  // mt19937 with the seed 5489 begins with 3499211612, 581869302.
  std::mt19937 generator;
  EXPECT_EQ(detail::random_bits(generator), (std::uint64_t{3499211612u} << 32) | 581869302u);
}

TEST(Random, NormalIsBoxAndMullersOfTwoUniforms) {
  Random random(3), same(3);
  const double u = same.uniform(), v = same.uniform();
  EXPECT_EQ(random.normal(), std::sqrt(-2 * std::log1p(-u)) * std::cos(2 * std::numbers::pi * v));
}

TEST(Random, ASeedDeterminesAllDraws) {
  Random random(7), same(7), other(8);
  EXPECT_EQ(random.normal(), same.normal());
  EXPECT_EQ(random.seed(), same.seed());
  EXPECT_NE(random.uniform(), other.uniform());
}

TEST(Random, ACopyDrawsTheSame) {
  Random random(7);
  random.uniform();
  Random copy = random;
  EXPECT_EQ(random.uniform(), copy.uniform());
}

TEST(Random, UniformStaysInItsInterval) {
  Random random(1);
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const double u = random.uniform();
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 5 * std::sqrt(1.0 / 12 / 10000));
}

TEST(Random, NormalHasMeanZeroAndVarianceOne) {
  Random random(1);
  double sum = 0, squares = 0;
  for (int i = 0; i < 10000; ++i) {
    const double z = random.normal();
    ASSERT_TRUE(std::isfinite(z));
    sum += z;
    squares += z * z;
  }
  EXPECT_NEAR(sum / 10000, 0, 5 / std::sqrt(10000.0));
  EXPECT_NEAR(squares / 10000, 1, 5 * std::sqrt(2.0 / 10000));
}

TEST(Random, IndicesStayInRange) {
  std::mt19937_64 generator{2};
  bool first = false, last = false;
  for (int i = 0; i < 200; ++i) {
    const Index index = detail::random_index(generator, 3);
    ASSERT_GE(index, 0);
    ASSERT_LT(index, 3);
    first = first || index == 0;
    last = last || index == 2;
  }
  EXPECT_TRUE(first && last);
}

TEST(Random, IsAGeneratorOfTheStandards) {
  static_assert(std::uniform_random_bit_generator<Random>);
  Random random(5489);
  EXPECT_EQ(random(), 14514284786278117030u);
  std::mt19937_64 engine(5489);
  engine.discard(1);
  EXPECT_EQ(std::normal_distribution<double>()(random), std::normal_distribution<double>()(engine));
  Random other(3), same(3);
  EXPECT_EQ(other.uniform(), detail::random_uniform(same));
}

TEST(Random, RecordedDrawsAreNoBits) {
  support::expect_invalid([] { Random::recorded({0.5})(); }, {"no random bits"});
}

TEST(Random, RecordedDrawsArePlayedBackInOrder) {
  Random random = Random::recorded({0.25, -3});
  EXPECT_EQ(random.uniform(), 0.25);
  EXPECT_EQ(random.normal(), -3);
}

TEST(Random, RecordedDrawsThatAreUsedUpAreRefused) {
  Random random = Random::recorded({1, 2});
  random.normal();
  random.normal();
  support::expect_invalid([&] { random.normal(); }, {"all 2 recorded draws are used up"});
}

TEST(Random, FillNormalScalesTheDraws) {
  std::mt19937_64 generator{4}, same{4};
  Vector<double> values(2);
  detail::fill_normal(generator, 3, values);
  EXPECT_EQ(values(0), 3 * detail::random_normal(same));
  EXPECT_EQ(values(1), 3 * detail::random_normal(same));
}

}  // namespace random_test
}  // namespace moe
