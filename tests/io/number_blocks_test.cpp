#include "moe/io/number_blocks.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "block_fixture.hpp"
#include "moe/core/core.hpp"

namespace number_blocks_test {

using namespace moe::detail;

std::vector<std::byte> random_bytes(std::size_t count) {
  std::mt19937 random(7);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 255);
  return bytes;
}

/// Of a block, by its description.
struct Block {
  const std::byte* at;

  int byte(std::size_t i) const { return std::to_integer<int>(at[i]); }
  float half(std::size_t i) const {
    return static_cast<float>(
        Eigen::numext::bit_cast<Eigen::half>(static_cast<std::uint16_t>(byte(i) | byte(i + 1) << 8)));
  }
  int nibble(std::size_t from, std::size_t j) const { return j < 16 ? byte(from + j) & 15 : byte(from + j - 16) >> 4; }
  int bit(std::size_t from, std::size_t j) const { return (byte(from + j / 8) >> (j % 8)) & 1; }
};

template <class Decode, class Value>
void expect_values(std::size_t bytes, Decode&& decode, Value&& value) {
  constexpr std::size_t count = 200;
  const auto blocks = random_bytes(bytes * count);
  std::vector<float> found(32 * count), expected;
  decode(blocks.data(), count, found.data());
  for (std::size_t b = 0; b < count; ++b)
    for (std::size_t j = 0; j < 32; ++j) expected.push_back(value(Block{blocks.data() + b * bytes}, j));
  expect_same_floats(found, expected);
}

TEST(NumberBlocks, Q8AndMxfp4AreWhatGgmlDecoded) {
  expect_blocks("q8_0", 34, 32, decode_q8_0);
  expect_blocks("mxfp4", 17, 32, decode_mxfp4, /*signs_of_zeros=*/false);
}

TEST(NumberBlocks, OthersAreWhatTheirDescriptionsSay) {
  expect_values(18, decode_q4_0,
                [](Block block, std::size_t j) { return block.half(0) * static_cast<float>(block.nibble(2, j) - 8); });
  expect_values(20, decode_q4_1, [](Block block, std::size_t j) {
    return block.half(0) * static_cast<float>(block.nibble(4, j)) + block.half(2);
  });
  expect_values(22, decode_q5_0, [](Block block, std::size_t j) {
    return block.half(0) * static_cast<float>(block.nibble(6, j) + 16 * block.bit(2, j) - 16);
  });
  expect_values(24, decode_q5_1, [](Block block, std::size_t j) {
    return block.half(0) * static_cast<float>(block.nibble(8, j) + 16 * block.bit(4, j)) + block.half(2);
  });
}

TEST(NumberBlocks, TheTwoOrdersOfMxfp4HoldTheSameNumbers) {
  constexpr std::size_t count = 20;
  const auto blocks = random_bytes(17 * count);
  std::vector<std::byte> pairs, scales;
  for (std::size_t b = 0; b < count; ++b) {
    const std::byte* const at = blocks.data() + 17 * b;
    scales.push_back(at[0]);
    for (std::size_t j = 0; j < 32; j += 2) {
      const std::size_t shift = j < 16 ? 0 : 4;
      const auto nibble = [&](std::size_t i) { return (at[1 + i % 16] >> shift) & std::byte{15}; };
      pairs.push_back(nibble(j) | nibble(j + 1) << 4);
    }
  }
  std::vector<float> halves(32 * count), neighbours(32 * count);
  decode_mxfp4(blocks.data(), count, halves.data());
  decode_mxfp4_pairs(pairs.data(), scales.data(), count, neighbours.data());
  expect_same_floats(neighbours, halves);
}

}  // namespace number_blocks_test
