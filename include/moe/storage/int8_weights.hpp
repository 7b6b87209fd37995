// Weights in 8 bits: blocks of 32 inputs with a scale for each output, as GGUF's Q8_0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "moe/core/core.hpp"
#include "moe/kernel/compiler.hpp"
#include "moe/kernel/words.hpp"
#include "moe/storage/coded_weights.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// panel_width scales in float, for numbers that are 2^24 times as large; then words of four inputs of one output, the
/// first one in its lowest byte.
struct Int8Blocks {
  static constexpr std::string_view name = "Int8Weights";
  static constexpr Index inputs = 32, together = 4, bytes_of_scales = 4 * panel_width,
                         bytes = bytes_of_scales + inputs * panel_width;

  static EIGEN_ALWAYS_INLINE Words::Floats read(const std::uint8_t* block, Index k, int t, int j) {
    const Words::Packet words = Words::load(block + bytes_of_scales + k * panel_width, j);
    return Eigen::internal::pmul(Words::byte(words, t), Words::load_floats(block, j));
  }

  /// The number of the largest magnitude becomes 127 or -127.
  static void encode(const float* weights, std::uint8_t* block) {
    for (Index i = 0; i < panel_width; ++i) {
      float largest = 0;
      for (Index k = 0; k < inputs; ++k) largest = (std::max)(largest, std::abs(weights[k * panel_width + i]));
      const float scale = largest < 0x1p-95f ? 0.0f : largest / 127, kept = scale * 0x1p-24f;
      std::memcpy(block + 4 * i, &kept, sizeof kept);
      for (Index k = 0; k < inputs; ++k) {
        const float steps = scale > 0 ? std::nearbyint(weights[k * panel_width + i] / scale) : 0.0f;
        const auto number = static_cast<std::int8_t>(std::clamp(steps, -127.0f, 127.0f));
        std::memcpy(block + bytes_of_scales + (k / 4 * panel_width + i) * 4 + k % 4, &number, sizeof number);
      }
    }
  }
};

}  // namespace detail

/// 1.125 bytes a weight. Each is off by at most 1/254 of the largest magnitude among 32 weights of one output; where
/// all 32 are below 2^-95 they become 0.
using Int8Weights = CodedWeights<detail::Int8Blocks>;

MOE_NAMESPACE_END
