// GGUF's K blocks: 256 numbers in groups, whose scales are small integers times one binary16 number.
#pragma once

#include <cstddef>
#include <cstdint>

#include "moe/io/number_blocks.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The 6-bit scale and minimum of a group of 32, of the 12 bytes that hold those of 8 groups: groups 0 .. 3 have the
/// low 6 bits of bytes 0 .. 3 and 4 .. 7; groups 4 .. 7 the nibbles of bytes 8 .. 11 and the top 2 bits of the others.
struct GroupScale {
  float scale, minimum;

  static GroupScale at(const std::byte* packed, std::size_t group) {
    const auto byte = [packed](std::size_t i) { return byte_value(packed[i]); };
    std::uint32_t scale, minimum;
    if (group < 4) {
      scale = byte(group) & 63;
      minimum = byte(group + 4) & 63;
    } else {
      scale = (byte(group + 4) & 15) | (byte(group - 4) >> 6) << 4;
      minimum = (byte(group + 4) >> 4) | (byte(group) >> 6) << 4;
    }
    return {static_cast<float>(scale), static_cast<float>(minimum)};
  }
};

/// Q4_K, 144 bytes: d, dmin, 12 bytes of scales and minima, 128 bytes, each 32 of which hold two groups: low nibbles,
/// then high nibbles q. d scale q - dmin minimum.
/// Q5_K, 176 bytes: the same, with 32 bytes of fifth bits before the nibbles: bit g of byte l for number l of group g.
template <bool has_fifth_bits>
void decode_q4_or_q5_k(const std::byte* __restrict blocks, std::size_t count, float* __restrict out) {
  constexpr std::size_t bytes = has_fifth_bits ? 176 : 144;
  for (std::size_t b = 0; b < count; ++b, blocks += bytes) {
    const float d = half_at(blocks), dmin = half_at(blocks + 2);
    const std::byte* const fifth = blocks + 16;
    for (std::size_t group = 0; group < 8; ++group, out += 32) {
      const GroupScale of_group = GroupScale::at(blocks + 4, group);
      const float scale = d * of_group.scale, minimum = dmin * of_group.minimum;
      const std::byte* const nibbles = blocks + bytes - 128 + 32 * (group / 2);
      const std::size_t shift = 4 * (group % 2);
      for (std::size_t l = 0; l < 32; ++l) {
        std::uint32_t q = (byte_value(nibbles[l]) >> shift) & 15;
        if constexpr (has_fifth_bits) q |= ((byte_value(fifth[l]) >> group) & 1) << 4;
        out[l] = scale * static_cast<float>(static_cast<std::int32_t>(q)) - minimum;
      }
    }
  }
}

inline void decode_q4_k(const std::byte* __restrict blocks, std::size_t count, float* __restrict out) {
  decode_q4_or_q5_k<false>(blocks, count, out);
}

inline void decode_q5_k(const std::byte* __restrict blocks, std::size_t count, float* __restrict out) {
  decode_q4_or_q5_k<true>(blocks, count, out);
}

/// 210 bytes: 128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 signed scales, d. A half of 128 numbers has 64,
/// 32 and 8 of them; its quarter k has the nibbles of 32 bytes, low ones for k = 0, 1, and bit pair k of the 32 bytes.
/// d scale (q - 32), a scale for 16 numbers.
inline void decode_q6_k(const std::byte* __restrict blocks, std::size_t count, float* __restrict out) {
  for (std::size_t b = 0; b < count; ++b, blocks += 210) {
    const float d = half_at(blocks + 208);
    for (std::size_t half = 0; half < 2; ++half) {
      const std::byte* const upper = blocks + 128 + 32 * half;
      for (std::size_t quarter = 0; quarter < 4; ++quarter, out += 32) {
        const std::byte* const lower = blocks + 64 * half + 32 * (quarter % 2);
        const std::byte* const scales = blocks + 192 + 8 * half + 2 * quarter;
        const float first = d * static_cast<float>(signed_byte_value(scales[0]));
        const float second = d * static_cast<float>(signed_byte_value(scales[1]));
        const std::size_t nibble = 4 * (quarter / 2), pair = 2 * quarter;
        for (std::size_t l = 0; l < 32; ++l) {
          const std::uint32_t q = ((byte_value(lower[l]) >> nibble) & 15) | ((byte_value(upper[l]) >> pair) & 3) << 4;
          out[l] = signed_product(l < 16 ? first : second, q, 32);
        }
      }
    }
  }
}

}  // namespace detail

MOE_NAMESPACE_END
