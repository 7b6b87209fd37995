// From numbers to the bytes of a format: the other way of convert.hpp, small_floats.hpp and number_blocks.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The number nearest to `value`, of two the even one, with so many bits of exponent and mantissa as IEEE 754 has them:
/// subnormals are rounded to, what is too large is infinite, NaN stays NaN. A double that comes from a float is rounded
/// once.
template <unsigned ExponentBits, unsigned MantissaBits>
std::uint16_t small_float_bits(double value) {
  constexpr int bias = (1 << (ExponentBits - 1)) - 1, digits = 52, double_bias = 1023;
  constexpr std::uint64_t infinity = ((1ull << ExponentBits) - 1) << MantissaBits, hidden = 1ull << digits;
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const std::uint64_t sign = bits >> 63 << (ExponentBits + MantissaBits), mantissa = bits & (hidden - 1);
  const int field = static_cast<int>(bits >> digits & 0x7ff);
  const auto signed_bits = [sign](std::uint64_t magnitude) { return static_cast<std::uint16_t>(sign | magnitude); };
  if (field == 0x7ff) {
    const std::uint64_t payload = mantissa >> (digits - MantissaBits);
    return signed_bits(infinity | (mantissa != 0 && payload == 0 ? 1ull << (MantissaBits - 1) : payload));
  }
  const int exponent = (field == 0 ? 1 : field) - double_bias, least = 1 - bias;
  const std::uint64_t significand = mantissa | (field == 0 ? 0 : hidden);
  // Beyond 55 nothing is left of the 53 digits, not even half of the last place.
  const int shift = (std::min)(digits - static_cast<int>(MantissaBits) + (std::max)(0, least - exponent), 55);
  const std::uint64_t rest = significand & ((1ull << shift) - 1), half = 1ull << (shift - 1);
  std::uint64_t magnitude = significand >> shift;
  magnitude += rest > half || (rest == half && magnitude % 2 != 0) ? 1 : 0;
  if (exponent > least) magnitude += static_cast<std::uint64_t>(exponent - least) << MantissaBits;
  return signed_bits((std::min)(magnitude, infinity));
}

inline std::uint16_t half_bits(double value) { return small_float_bits<5, 10>(value); }
inline std::uint16_t bfloat_bits(double value) { return small_float_bits<8, 7>(value); }

// Each writes `count` blocks, and returns the number of the first one that holds a number that the format does not: a
// finite one that would become infinite. It returns `count` if there is none.

template <class T>
std::size_t encode_plain(const double* values, std::size_t count, std::byte* out) {
  for (std::size_t i = 0; i < count; ++i, out += sizeof(T)) {
    const auto value = static_cast<T>(values[i]);
    if (has_finite_bits(values[i]) && !has_finite_bits(value)) return i;
    std::memcpy(out, &value, sizeof value);
  }
  return count;
}

template <std::uint16_t (*bits_of)(double), std::uint16_t infinity>
std::size_t encode_small(const double* values, std::size_t count, std::byte* out) {
  for (std::size_t i = 0; i < count; ++i, out += 2) {
    const std::uint16_t bits = bits_of(values[i]);
    if ((bits & 0x7fff) == infinity && has_finite_bits(values[i])) return i;
    std::memcpy(out, &bits, sizeof bits);
  }
  return count;
}

/// Q8_0, as ggml's reference does it in float: d = max |x| / 127 is stored as binary16, and q is x / d rounded to the
/// nearest, halves away from zero, with the d that is not yet rounded. No number may be infinite or NaN.
inline std::size_t encode_q8_0(const double* values, std::size_t count, std::byte* out) {
  for (std::size_t b = 0; b < count; ++b, values += 32, out += 34) {
    float x[32], largest = 0;
    for (std::size_t j = 0; j < 32; ++j) {
      x[j] = static_cast<float>(values[j]);
      if (!has_finite_bits(x[j])) return b;
      largest = (std::max)(largest, std::abs(x[j]));
    }
    const float d = largest / 127;
    const std::uint16_t bits = half_bits(static_cast<double>(d));
    if (bits == 0x7c00) return b;
    std::memcpy(out, &bits, sizeof bits);
    const float inverse = d > 0 ? 1 / d : 0;
    for (std::size_t j = 0; j < 32; ++j) {
      // Of a d so small that its inverse is infinite, 0 is stored: codes then mean nothing.
      const float code = has_finite_bits(inverse) ? std::round(x[j] * inverse) : 0;
      out[2 + j] = static_cast<std::byte>(static_cast<std::int8_t>(code));
    }
  }
  return count;
}

}  // namespace detail

MOE_NAMESPACE_END
