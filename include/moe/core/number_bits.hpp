// NaN, infinity and sign of a number, seen by its bits: also where a compiler takes all numbers for finite.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "moe/core/version.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
inline constexpr bool has_known_bits = std::is_same_v<S, float> || std::is_same_v<S, double>;

template <class S>
using BitsOf = std::conditional_t<std::is_same_v<S, float>, std::uint32_t, std::uint64_t>;

/// The bits of a number, without its sign. Under -ffast-math a compiler may take x != x for false, and a test of the
/// bits for that same test: so it is kept from knowing where the bits come from.
template <class S>
auto magnitude_bits(const S& value) {
  using Bits = BitsOf<S>;
  auto bits = static_cast<Bits>(std::bit_cast<Bits>(value) & (~Bits(0) >> 1));
#if defined(__GNUC__) && __FINITE_MATH_ONLY__
  asm("" : "+r"(bits));
#endif
  return bits;
}

template <class S>
inline constexpr auto bits_of_infinity = static_cast<BitsOf<S>>(sizeof(S) == 4 ? 0x7f800000u : 0x7ff0000000000000u);

/// NaN, seen by its bits.
template <class S>
bool has_nan_bits(const S& value) {
  if constexpr (has_known_bits<S>)
    return magnitude_bits(value) > bits_of_infinity<S>;
  else
    return value != value;
}

/// Neither NaN nor infinite, seen by the bits.
template <class S>
bool has_finite_bits(const S& value) {
  if constexpr (has_known_bits<S>)
    return magnitude_bits(value) < bits_of_infinity<S>;
  else
    return value - value == S(0);
}

/// The same for settings, which may be made when the program is compiled.
constexpr bool is_finite_setting(const double& value) {
  return std::is_constant_evaluated() ? value - value == 0 : has_finite_bits(value);
}

/// A NaN with bits that no arithmetic makes of numbers: a mark in memory that is to be written.
template <class S>
inline constexpr auto bits_of_unwritten = static_cast<BitsOf<S>>(bits_of_infinity<S> +
                                                                 (sizeof(S) == 4 ? 0x6d6f65u : 0xd6f65d6f65d6fu));

template <class S>
void mark_unwritten(S& value) {
  if constexpr (has_known_bits<S>) value = std::bit_cast<S>(bits_of_unwritten<S>);
}

template <class S>
bool is_unwritten(const S& value) {
  if constexpr (has_known_bits<S>)
    return magnitude_bits(value) == bits_of_unwritten<S>;
  else
    return false;
}

/// Less than 0, or -0, seen by the bits.
template <class S>
bool has_sign_bit(const S& value) {
  if constexpr (has_known_bits<S>)
    return (std::bit_cast<BitsOf<S>>(value) >> (8 * sizeof(S) - 1)) != 0;
  else
    return value < S(0);
}

}  // namespace detail

MOE_NAMESPACE_END
