// The plainest format that a storage can have, written as a user's own: floats, four inputs a block.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "moe/kernel/words.hpp"
#include "moe/storage/coded_weights.hpp"

namespace plain_blocks {

struct PlainBlocks {
  static constexpr std::string_view name = "PlainBlocks";
  static constexpr moe::Index inputs = 4, together = 1, bytes = inputs * moe::panel_width * 4;

  static moe::detail::Words::Floats read(const std::uint8_t* block, moe::Index k, int, int j) {
    return moe::detail::Words::load_floats(block + k * moe::panel_width * 4, j);
  }
  static void encode(const float* weights, std::uint8_t* block) { std::memcpy(block, weights, bytes); }
};

using PlainWeights = moe::CodedWeights<PlainBlocks>;

}  // namespace plain_blocks
