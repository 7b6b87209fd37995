// Weights in bfloat16: half the bytes of float, and of each number the first eight significant bits.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "moe/core/core.hpp"
#include "moe/kernel/compiler.hpp"
#include "moe/kernel/words.hpp"
#include "moe/storage/coded_weights.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A word holds two inputs of one output, the first one in its lower half.
struct Bfloat16Blocks {
  static constexpr std::string_view name = "Bfloat16Weights";
  static constexpr Index inputs = 16, together = 2, bytes = 2 * inputs * panel_width;

  static EIGEN_ALWAYS_INLINE Words::Floats read(const std::uint8_t* block, Index k, int t, int j) {
    const Words::Packet words = Words::load(block + k * 2 * panel_width, j);
    return Words::bits_of(t == 0 ? Words::left<16>(words) : Words::both(words, 0xffff0000u));
  }

  /// To the nearest; a tie goes to the even one.
  static void encode(const float* weights, std::uint8_t* block) {
    for (Index k = 0; k < inputs; ++k)
      for (Index i = 0; i < panel_width; ++i) {
        const auto bits = std::bit_cast<std::uint32_t>(weights[k * panel_width + i]);
        const auto half = static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
        std::memcpy(block + (k / 2 * panel_width + i) * 4 + k % 2 * 2, &half, sizeof half);
      }
  }
};

}  // namespace detail

/// Two bytes a weight. Each is rounded to the nearest bfloat16: off by 2^-9 of itself at most.
using Bfloat16Weights = CodedWeights<detail::Bfloat16Blocks>;

MOE_NAMESPACE_END
