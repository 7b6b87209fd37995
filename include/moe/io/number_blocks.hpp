// Blocks of 32 numbers that share a scale: GGUF's Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and MXFP4, and mxfp4 as gpt-oss has it.
//
// d and m are binary16; a nibble is 4 bits of a byte. Except in gpt-oss, whose bytes hold two neighbours, the low
// nibbles of a block's 16 bytes are its numbers 0 .. 15, the high nibbles 16 .. 31.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "moe/io/small_floats.hpp"
#include "moe/kernel/compiler.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline std::uint32_t byte_value(std::byte byte) { return std::to_integer<std::uint32_t>(byte); }

inline std::int32_t signed_byte_value(std::byte byte) {
  return static_cast<std::int8_t>(std::to_integer<std::uint8_t>(byte));
}

inline float half_at(const std::byte* at) {
  std::uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return half_value(bits);
}

inline std::uint32_t word_at(const std::byte* at) {
  std::uint32_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return bits;
}

// What is read and what is written never overlap, said by __restrict, and loops have constant bounds and stay loops: so
// compilers make vectors of them.

/// Writes f(nibble) for the 16 low nibbles, then for the 16 high ones.
template <class F>
void decode_nibbles(const std::byte* __restrict nibbles, float* __restrict out, F&& f) {
  MOE_DETAIL_ROLLED
  for (std::uint32_t j = 0; j < 16; ++j) out[j] = f(byte_value(nibbles[j]) & 15, j);
  MOE_DETAIL_ROLLED
  for (std::uint32_t j = 0; j < 16; ++j) out[16 + j] = f(byte_value(nibbles[j]) >> 4, 16 + j);
}

inline float signed_product(float scale, std::uint32_t code, std::int32_t zero) {
  return scale * static_cast<float>(static_cast<std::int32_t>(code) - zero);
}

// Each reads `count` blocks and writes 32 floats for every one of them.

/// 34 bytes: d, 32 signed bytes q. d q.
inline void decode_q8_0(const std::byte* __restrict blocks, std::size_t count, float* __restrict out) {
  for (std::size_t b = 0; b < count; ++b, blocks += 34, out += 32) {
    const float d = half_at(blocks);
    for (std::size_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(signed_byte_value(blocks[2 + j]));
  }
}

/// 18 bytes: d, nibbles q. d (q - 8).
inline void decode_q4_0(const std::byte* __restrict blocks, std::size_t count, float* __restrict out) {
  for (std::size_t b = 0; b < count; ++b, blocks += 18, out += 32) {
    const float d = half_at(blocks);
    decode_nibbles(blocks + 2, out, [d](std::uint32_t q, std::uint32_t) { return signed_product(d, q, 8); });
  }
}

/// 20 bytes: d, m, nibbles q. d q + m.
inline void decode_q4_1(const std::byte* __restrict blocks, std::size_t count, float* __restrict out) {
  for (std::size_t b = 0; b < count; ++b, blocks += 20, out += 32) {
    const float d = half_at(blocks), m = half_at(blocks + 2);
    decode_nibbles(blocks + 4, out, [d, m](std::uint32_t q, std::uint32_t) { return signed_product(d, q, 0) + m; });
  }
}

/// 22 bytes: d, 32 fifth bits, nibbles. With the fifth bits d (q - 16).
inline void decode_q5_0(const std::byte* __restrict blocks, std::size_t count, float* __restrict out) {
  for (std::size_t b = 0; b < count; ++b, blocks += 22, out += 32) {
    const float d = half_at(blocks);
    const std::uint32_t fifth = word_at(blocks + 2);
    decode_nibbles(blocks + 6, out, [d, fifth](std::uint32_t q, std::uint32_t j) {
      return signed_product(d, q | ((fifth >> j) & 1) << 4, 16);
    });
  }
}

/// 24 bytes: d, m, 32 fifth bits, nibbles. With the fifth bits d q + m.
inline void decode_q5_1(const std::byte* __restrict blocks, std::size_t count, float* __restrict out) {
  for (std::size_t b = 0; b < count; ++b, blocks += 24, out += 32) {
    const float d = half_at(blocks), m = half_at(blocks + 2);
    const std::uint32_t fifth = word_at(blocks + 4);
    decode_nibbles(blocks + 8, out, [d, m, fifth](std::uint32_t q, std::uint32_t j) {
      return signed_product(d, q | ((fifth >> j) & 1) << 4, 0) + m;
    });
  }
}

/// 17 bytes: e, nibbles of E2M1 codes. code 2^(e - 127), NaN where e is 255; code 8 is -0.
inline void decode_mxfp4(const std::byte* __restrict blocks, std::size_t count, float* __restrict out) {
  for (std::size_t b = 0; b < count; ++b, blocks += 17, out += 32) {
    const float scale = halved_e8m0_value(std::to_integer<std::uint8_t>(blocks[0]));
    decode_nibbles(blocks + 1, out,
                   [scale](std::uint32_t code, std::uint32_t) { return doubled_e2m1_value(code) * scale; });
  }
}

/// The same numbers as gpt-oss stores them: 16 bytes a block, the low nibble of a byte before its high one, and the
/// blocks' scales e in bytes of their own.
inline void decode_mxfp4_pairs(const std::byte* __restrict blocks, const std::byte* __restrict scales,
                               std::size_t count, float* __restrict out) {
  for (std::size_t b = 0; b < count; ++b, blocks += 16, out += 32) {
    const float scale = halved_e8m0_value(std::to_integer<std::uint8_t>(scales[b]));
    MOE_DETAIL_ROLLED
    for (std::size_t j = 0; j < 16; ++j) {
      const std::uint32_t byte = byte_value(blocks[j]);
      out[2 * j] = doubled_e2m1_value(byte) * scale;
      out[2 * j + 1] = doubled_e2m1_value(byte >> 4) * scale;
    }
  }
}

}  // namespace detail

MOE_NAMESPACE_END
