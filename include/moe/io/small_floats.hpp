// Floating-point numbers of 8 and 16 bits and fewer, as floats. No arithmetic here meets a denormal, so that programs
// which flush those to zero read the same values, and loops over these functions vectorise.
#pragma once

#include <bit>
#include <cstdint>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// How the largest exponent is used: as IEEE 754 does, for infinity and NaN; or, in E4M3, for numbers, but for one NaN.
enum class LargestExponent { infinity, numbers };

/// The value of a number of one sign bit, so many bits of exponent and of mantissa, in the low bits of `bits`.
template <unsigned ExponentBits, unsigned MantissaBits, LargestExponent largest = LargestExponent::infinity>
float small_float(std::uint32_t bits) {
  constexpr std::uint32_t sign_bit = 1u << (ExponentBits + MantissaBits), magnitude_bits = sign_bit - 1;
  constexpr std::uint32_t shift = 23 - MantissaBits, bias = 127 - ((1u << (ExponentBits - 1)) - 1);
  constexpr std::uint32_t infinity = ((1u << ExponentBits) - 1) << MantissaBits;
  constexpr auto least = std::bit_cast<float>((bias + 1 - MantissaBits) << 23);  // the least positive number
  const std::uint32_t magnitude = bits & magnitude_bits;
  const std::uint32_t sign = (bits & sign_bit) != 0 ? 0x80000000u : 0u;
  const auto subnormal = std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(magnitude)) * least);
  const std::uint32_t normal = (magnitude << shift) + (bias << 23);
  const std::uint32_t is_normal = 0u - static_cast<std::uint32_t>(magnitude >= (1u << MantissaBits));
  std::uint32_t value = (normal & is_normal) | (subnormal & ~is_normal);  // without a branch, which stops vectors
  if constexpr (largest == LargestExponent::infinity)
    value |= magnitude >= infinity ? 0x7f800000u : 0u;
  else
    value |= magnitude == magnitude_bits ? 0x7fc00000u : 0u;
  return std::bit_cast<float>(value | sign);
}

/// IEEE 754 binary16.
inline float half_value(std::uint16_t bits) { return small_float<5, 10>(bits); }
/// bfloat16: binary32 without its low half.
inline float bfloat_value(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
/// F8_E5M2: binary16 without its low byte.
inline float e5m2_value(std::uint8_t bits) { return small_float<5, 2>(bits); }
/// F8_E4M3 as OCP defines it: no infinity, the largest number is 448.
inline float e4m3_value(std::uint8_t bits) { return small_float<4, 3, LargestExponent::numbers>(bits); }

/// F8_E8M0: 2^(bits - 127), and NaN for 255.
inline float e8m0_value(std::uint8_t bits) {
  const std::uint32_t exponent = bits;
  return std::bit_cast<float>(bits == 255 ? 0x7fc00000u : bits == 0 ? 0x00400000u : exponent << 23);
}

/// Twice the value of an E2M1 number, the code of mxfp4, in the low 4 bits: 0 1 2 3 4 6 8 12 and the negatives.
inline float doubled_e2m1_value(std::uint32_t bits) {
  const auto code = static_cast<std::int32_t>(bits & 7);
  const std::int32_t above_4 = code > 4 ? code - 4 : 0;
  const auto magnitude = static_cast<float>(code + above_4 + (code == 7 ? 2 : 0));
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | (bits & 8) << 28);
}

/// Half of 2^(bits - 127), the scale of an mxfp4 block, for doubled codes; NaN for 255.
inline float halved_e8m0_value(std::uint8_t bits) {
  const std::uint32_t exponent = bits;
  return std::bit_cast<float>(bits == 255 ? 0x7fc00000u : bits < 2 ? 0x00200000u << bits : (exponent - 1) << 23);
}

}  // namespace detail

MOE_NAMESPACE_END
