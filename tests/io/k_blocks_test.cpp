#include "moe/io/k_blocks.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "block_fixture.hpp"
#include "moe/core/core.hpp"

namespace k_blocks_test {

using namespace moe::detail;

TEST(KBlocks, AreWhatGgmlDecoded) {
  expect_blocks("q4_k", 144, 256, decode_q4_k);
  expect_blocks("q6_k", 210, 256, decode_q6_k);
}

// The fixtures have no Q5_K: its nibbles, scales and minima are those of the Q4_K block without the fifth bits, which
// add 16 scales of the group.
TEST(KBlocks, Q5IsQ4WithFifthBits) {
  std::mt19937 random(3);
  std::vector<std::byte> block(176);
  for (int repeat = 0; repeat < 50; ++repeat) {
    for (std::byte& byte : block) byte = static_cast<std::byte>(random() & 255);
    block[1] = block[3] = std::byte{0x2c};  // scales of about 1/16
    std::vector<std::byte> without(block.begin(), block.begin() + 16);
    without.insert(without.end(), block.begin() + 48, block.end());
    std::vector<float> found(256), expected(256);
    decode_q5_k(block.data(), 1, found.data());
    decode_q4_k(without.data(), 1, expected.data());
    for (std::size_t i = 0; i < 256; ++i) {
      const std::size_t group = i / 32, l = i % 32;
      const bool has_fifth = (std::to_integer<unsigned>(block[16 + l]) >> group & 1) != 0;
      const double sixteen = 16. * half_at(block.data()) * GroupScale::at(block.data() + 4, group).scale;
      EXPECT_NEAR(found[i], expected[i] + (has_fifth ? sixteen : 0.), 1e-4) << i;
    }
  }
}

TEST(KBlocks, TwelveBytesHoldEightScalesAndMinima) {
  const unsigned scales[] = {1, 63, 32, 5, 17, 62, 48, 33}, minima[] = {2, 61, 31, 6, 18, 60, 47, 15};
  std::vector<std::byte> packed(12);
  for (std::size_t group = 0; group < 4; ++group) {
    packed[group] = static_cast<std::byte>(scales[group] | (scales[group + 4] >> 4) << 6);
    packed[group + 4] = static_cast<std::byte>(minima[group] | (minima[group + 4] >> 4) << 6);
    packed[group + 8] = static_cast<std::byte>((scales[group + 4] & 15) | (minima[group + 4] & 15) << 4);
  }
  for (std::size_t group = 0; group < 8; ++group) {
    EXPECT_EQ(GroupScale::at(packed.data(), group).scale, static_cast<float>(scales[group]));
    EXPECT_EQ(GroupScale::at(packed.data(), group).minimum, static_cast<float>(minima[group]));
  }
}

}  // namespace k_blocks_test
