#include "moe/io/number_encoding.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "block_fixture.hpp"
#include "moe/io/small_floats.hpp"

namespace number_encoding_test {

using moe::detail::bfloat_bits;
using moe::detail::half_bits;

constexpr double infinity = std::numeric_limits<double>::infinity();

double bfloat_value(std::uint16_t bits) {
  return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
}

TEST(NumberEncoding, EveryNumberOf16BitsComesBack) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto wanted = static_cast<std::uint16_t>(bits);
    const auto half = static_cast<double>(moe::detail::half_value(wanted));
    if (half == half) {
      EXPECT_EQ(half_bits(half), wanted);
    } else {
      EXPECT_EQ(half_bits(half) & 0x7c00, 0x7c00);
    }
    const double bfloat = bfloat_value(wanted);
    if (bfloat == bfloat) {
      EXPECT_EQ(bfloat_bits(bfloat), wanted);
    }
  }
  EXPECT_GT(half_bits(std::numeric_limits<double>::quiet_NaN()) & 0x7fff, 0x7c00);
  EXPECT_GT(bfloat_bits(std::numeric_limits<double>::quiet_NaN()) & 0x7fff, 0x7f80);
}

/// Between two neighbours the nearer one, in the middle the even one: by search, without the bits of the double.
TEST(NumberEncoding, RoundsToTheNearestOfTwoNeighbours) {
  const auto expect_between = [](auto bits_of, auto value_of, std::uint16_t largest) {
    for (std::uint16_t low = 0; low < largest; low = static_cast<std::uint16_t>(low + 37)) {
      const auto high = static_cast<std::uint16_t>(low + 1);
      const double a = value_of(low), b = value_of(high), middle = a + (b - a) / 2;
      const auto even = low % 2 == 0 ? low : high;
      EXPECT_EQ(bits_of(middle), even);
      EXPECT_EQ(bits_of(std::nextafter(middle, 0.0)), low);
      EXPECT_EQ(bits_of(std::nextafter(middle, infinity)), high);
      EXPECT_EQ(bits_of(-middle), even | 0x8000);
    }
  };
  expect_between(
      half_bits, [](std::uint16_t bits) { return static_cast<double>(moe::detail::half_value(bits)); }, 0x7bff);
  expect_between(bfloat_bits, bfloat_value, 0x7f7f);
}

TEST(NumberEncoding, EdgesOfTheRange) {
  EXPECT_EQ(half_bits(65504), 0x7bff);
  EXPECT_EQ(half_bits(65519.99), 0x7bff);
  EXPECT_EQ(half_bits(65520), 0x7c00);
  EXPECT_EQ(half_bits(1e300), 0x7c00);
  EXPECT_EQ(half_bits(-infinity), 0xfc00);
  EXPECT_EQ(half_bits(std::ldexp(1.0, -25)), 0);  // half of the least, to the even one
  EXPECT_EQ(half_bits(std::ldexp(1.1, -25)), 1);
  EXPECT_EQ(half_bits(5e-324), 0);
  EXPECT_EQ(half_bits(-0.0), 0x8000);
  EXPECT_EQ(bfloat_bits(static_cast<double>(std::numeric_limits<float>::max())), 0x7f80);
  EXPECT_EQ(bfloat_bits(5e-324), 0);
}

TEST(NumberEncoding, WhatDoesNotFitIsCounted) {
  std::vector<std::byte> bytes(100);
  const std::vector<double> values{1, 2, 1e39, infinity};
  EXPECT_EQ(moe::detail::encode_plain<float>(values.data(), 4, bytes.data()), 2u);
  EXPECT_EQ(moe::detail::encode_plain<double>(values.data(), 4, bytes.data()), 4u);
  EXPECT_EQ((moe::detail::encode_small<half_bits, 0x7c00>(values.data(), 4, bytes.data())), 2u);
  EXPECT_EQ((moe::detail::encode_small<bfloat_bits, 0x7f80>(values.data() + 3, 1, bytes.data())), 1u);
  std::vector<double> blocks(64, 1.0);
  EXPECT_EQ(moe::detail::encode_q8_0(blocks.data(), 2, bytes.data()), 2u);
  blocks[40] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(moe::detail::encode_q8_0(blocks.data(), 2, bytes.data()), 1u);
  blocks[40] = 1e7;
  EXPECT_EQ(moe::detail::encode_q8_0(blocks.data(), 2, bytes.data()), 1u);
}

/// Blocks that another implementation made of numbers.
TEST(NumberEncoding, Q8HasTheSameBits) {
  const auto file = moe::io::Safetensors::open(fixture("blocks/q8_0.safetensors"));
  int cases = 0;
  for (const std::string of_case : {"gauss", "negative", "offset", "outlier", "small", "sparse", "ties", "zeros"}) {
    SCOPED_TRACE(of_case);
    const auto values = file.values<double>(of_case + ".source");
    const auto expected = file.bytes(of_case + ".blocks");
    std::vector<std::byte> found(expected.size());
    ASSERT_EQ(moe::detail::encode_q8_0(values.data(), values.size() / 32, found.data()), values.size() / 32);
    EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size()), 0);
    ++cases;
  }
  EXPECT_EQ(cases, 8);
}

TEST(NumberEncoding, TinyBlocksAreZero) {
  const std::vector<double> values(32, 1e-42);
  std::vector<std::byte> bytes(34);
  EXPECT_EQ(moe::detail::encode_q8_0(values.data(), 1, bytes.data()), 1u);
  EXPECT_EQ(bytes, std::vector<std::byte>(34));
}

}  // namespace number_encoding_test
