#include "moe/io/small_floats.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "moe/core/core.hpp"

namespace small_floats_test {

using namespace moe::detail;

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

/// By the definition, in double.
double defined(int code, int exponent_bits, int mantissa_bits, bool has_infinity) {
  const int magnitude = code & ((1 << (exponent_bits + mantissa_bits)) - 1);
  const int exponent = magnitude >> mantissa_bits, mantissa = magnitude & ((1 << mantissa_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1, largest = (1 << exponent_bits) - 1;
  const double sign = (code >> (exponent_bits + mantissa_bits)) & 1 ? -1 : 1;
  if (has_infinity && exponent == largest) return mantissa == 0 ? sign * INFINITY : NAN;
  if (!has_infinity && magnitude == (1 << (exponent_bits + mantissa_bits)) - 1) return NAN;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

void expect_value(float found, double expected) {
  if (std::isnan(expected))
    EXPECT_TRUE(std::isnan(found));
  else
    EXPECT_EQ(bits(found), bits(static_cast<float>(expected)));
}

TEST(SmallFloats, AreWhatTheirBitsSay) {
  for (int code = 0; code < 65536; ++code) {
    SCOPED_TRACE(code);
    expect_value(half_value(static_cast<std::uint16_t>(code)), defined(code, 5, 10, true));
    if (code > 255) continue;
    expect_value(e5m2_value(static_cast<std::uint8_t>(code)), defined(code, 5, 2, true));
    expect_value(e4m3_value(static_cast<std::uint8_t>(code)), defined(code, 4, 3, false));
  }
  EXPECT_EQ(e4m3_value(0x7e), 448);
  EXPECT_EQ(e4m3_value(0x81), -std::ldexp(1.f, -9));
}

TEST(SmallFloats, HalvesAreThoseOfEigen) {
  for (int code = 0; code < 65536; ++code) {
    const auto half = static_cast<std::uint16_t>(code);
    const auto eigen = static_cast<float>(Eigen::numext::bit_cast<Eigen::half>(half));
    if (std::isnan(eigen))
      EXPECT_TRUE(std::isnan(half_value(half)));
    else
      EXPECT_EQ(bits(half_value(half)), bits(eigen));
  }
}

TEST(SmallFloats, ScalesArePowersOfTwo) {
  for (int code = 0; code < 255; ++code) {
    const auto byte = static_cast<std::uint8_t>(code);
    EXPECT_EQ(bits(e8m0_value(byte)), bits(static_cast<float>(std::ldexp(1., code - 127))));
    EXPECT_EQ(bits(halved_e8m0_value(byte)), bits(static_cast<float>(std::ldexp(1., code - 128))));
  }
  EXPECT_TRUE(std::isnan(e8m0_value(255)) && std::isnan(halved_e8m0_value(255)));
}

TEST(SmallFloats, CodesOfFourBitsIgnoreTheOthers) {
  const float values[] = {0, 1, 2, 3, 4, 6, 8, 12};
  for (std::uint32_t code = 0; code < 256; ++code) {
    const float expected = (code & 8) != 0 ? -values[code & 7] : values[code & 7];
    EXPECT_EQ(bits(doubled_e2m1_value(code)), bits(expected)) << code;
  }
}

}  // namespace small_floats_test
