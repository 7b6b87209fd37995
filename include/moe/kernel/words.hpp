// Packets of 32-bit words, and the floats that are hidden in their bits: by Eigen's packets, for every instruction set.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "moe/core/core.hpp"
#include "moe/core/packet.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

static_assert(std::endian::native == std::endian::little,
              "moe: weights of fewer bits are read from words of little-endian bytes; this processor is big-endian");

/// A packet of as many words as PacketsOf<float> has floats.
struct Words {
  using Floats = typename PacketsOf<float>::Packet;
  static constexpr int lanes = PacketsOf<float>::lanes, packets = PacketsOf<float>::packets;
#ifdef EIGEN_VECTORIZE
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // those of a vector type, which Eigen's own uses ignore too
#endif
  using Packet = typename Eigen::internal::unpacket_traits<Floats>::integer_packet;
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#else
  using Packet = std::int32_t;
#endif

  /// From anywhere in memory, packet `i` of panel_width words.
  static EIGEN_ALWAYS_INLINE Packet load(const std::uint8_t* from, int i) {
#ifdef EIGEN_VECTORIZE
    return Eigen::internal::ploadu<Packet>(reinterpret_cast<const std::int32_t*>(from) + i * lanes);
#else
    Packet word;
    std::memcpy(&word, from + i * static_cast<int>(sizeof word), sizeof word);
    return word;
#endif
  }

  static EIGEN_ALWAYS_INLINE Floats load_floats(const std::uint8_t* from, int i) { return bits_of(load(from, i)); }

  /// The floats of these bits.
  static EIGEN_ALWAYS_INLINE Floats bits_of(const Packet& words) {
#ifdef EIGEN_VECTORIZE
    return Eigen::internal::preinterpret<Floats>(words);
#else
    return std::bit_cast<float>(words);
#endif
  }

  /// The floats of these values.
  static EIGEN_ALWAYS_INLINE Floats values_of(const Packet& words) {
    return Eigen::internal::pcast<Packet, Floats>(words);
  }

  template <int bits>
  static EIGEN_ALWAYS_INLINE Packet left(const Packet& words) {
    if constexpr (bits == 0)
      return words;
    else
      return Eigen::internal::plogical_shift_left<bits>(words);
  }

  /// Filled with the sign.
  template <int bits>
  static EIGEN_ALWAYS_INLINE Packet right(const Packet& words) {
    return Eigen::internal::parithmetic_shift_right<bits>(words);
  }

  /// Byte `i` (0: the lowest) of each word, a signed number, times 2^24.
  static EIGEN_ALWAYS_INLINE Floats byte(const Packet& words, int i) {
    constexpr std::uint32_t highest = 0xff000000u;
    return values_of(i == 0   ? left<24>(words)
                     : i == 1 ? both(left<16>(words), highest)
                     : i == 2 ? both(left<8>(words), highest)
                              : both(words, highest));
  }

  /// Each byte of words, less than 16, becomes that byte of the table.
  static EIGEN_ALWAYS_INLINE Packet look_up(const std::int8_t (&table)[16], const Packet& words) {
#if defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512BW__)
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))), words);
#elif defined(EIGEN_VECTORIZE_AVX2) && !defined(EIGEN_VECTORIZE_AVX512)
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))),
                               words);
#elif defined(EIGEN_VECTORIZE_SSSE3) && !defined(EIGEN_VECTORIZE_AVX)
    return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)), words);
#else
    std::uint8_t bytes[sizeof(Packet)];
    std::memcpy(bytes, &words, sizeof(Packet));
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(table[byte & 15u]);
    return load(bytes, 0);
#endif
  }

  static EIGEN_ALWAYS_INLINE Packet both(const Packet& words, std::uint32_t bits) {
    return Eigen::internal::pand(words, Eigen::internal::pset1<Packet>(static_cast<std::int32_t>(bits)));
  }
};

}  // namespace detail

MOE_NAMESPACE_END
