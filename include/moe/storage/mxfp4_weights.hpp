// Weights in 4 bits: MXFP4 of the Open Compute Project, as gpt-oss and others have it.
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

/// panel_width halves of scales in float, for numbers that are 2^24 times as large; then words of eight inputs of one
/// output: in byte i input i, and input i + 4 above it. A code is a sign and one of eight magnitudes, E2M1.
struct Mxfp4Blocks {
  static constexpr std::string_view name = "Mxfp4Weights";
  static constexpr Index inputs = 32, together = 8, bytes_of_scales = 4 * panel_width,
                         bytes = bytes_of_scales + inputs * panel_width / 2;
  static constexpr std::int8_t doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

  static EIGEN_ALWAYS_INLINE Words::Floats read(const std::uint8_t* block, Index k, int t, int j) {
    const Words::Packet words = Words::load(block + bytes_of_scales + k * panel_width / 2, j);
    const Words::Packet codes = Words::both(t < 4 ? words : Words::right<4>(words), 0x0f0f0f0fu);
    return Eigen::internal::pmul(Words::byte(Words::look_up(doubled, codes), t % 4), Words::load_floats(block, j));
  }

  /// The largest magnitude gets the largest exponent there is; what is larger than 6 scales becomes 6. Numbers that an
  /// MXFP4 file holds stay as they are, if their scale is 2^-101 or more.
  static void encode(const float* weights, std::uint8_t* block) {
    for (Index i = 0; i < panel_width; ++i) {
      float largest = 0;
      for (Index k = 0; k < inputs; ++k) largest = (std::max)(largest, std::abs(weights[k * panel_width + i]));
      const int exponent = largest > 0 ? (std::max)(std::ilogb(largest) - 2, -101) : 0;
      const float half = std::ldexp(0.5f, exponent), kept = half * 0x1p-24f;
      std::memcpy(block + 4 * i, &kept, sizeof kept);
      for (Index k = 0; k < inputs; k += 8)
        for (Index b = 0; b < 4; ++b)
          block[bytes_of_scales + (k / 8 * panel_width + i) * 4 + b] =
              static_cast<std::uint8_t>(nearest_code(weights[(k + b) * panel_width + i] / half) |
                                        nearest_code(weights[(k + 4 + b) * panel_width + i] / half) << 4);
    }
  }

 private:
  /// Of a number of half scales; a tie goes to the even code.
  static unsigned nearest_code(float number) {
    const float size = std::abs(number);
    unsigned code = 0;
    for (unsigned next = 1; next < 8; ++next) {
      const float middle = static_cast<float>(doubled[next - 1] + doubled[next]) / 2;
      if (size > middle || (size == middle && next % 2 == 0)) code = next;
    }
    return code | (std::signbit(number) && code > 0 ? 8u : 0u);
  }
};

}  // namespace detail

/// 0.625 bytes a weight: for models whose numbers are of this format, which they keep exactly where scales are 2^-101
/// or more. Of other weights each is off by up to a sixth.
using Mxfp4Weights = CodedWeights<detail::Mxfp4Blocks>;

MOE_NAMESPACE_END
