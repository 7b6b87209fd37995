// Blocks whose values another implementation decoded.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "moe/io/safetensors_reader.hpp"

inline std::string fixture(const std::string& name) { return std::string(MOE_SOURCE_DIR) + "/tests/io/data/" + name; }

/// The same numbers: NaN as NaN; -0 as 0 only if `signs_of_zeros` is false.
inline void expect_same_floats(const std::vector<float>& found, const std::vector<float>& expected,
                               bool signs_of_zeros = true) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const bool same = std::bit_cast<std::uint32_t>(found[i]) == std::bit_cast<std::uint32_t>(expected[i]) ||
                      (found[i] != found[i] && expected[i] != expected[i]) ||
                      (!signs_of_zeros && found[i] == expected[i]);
    ASSERT_TRUE(same) << i << ": " << found[i] << " is not " << expected[i];
  }
}

/// decode(blocks, count, out) against each case of data/blocks/<name>.safetensors, `bytes` for 32 or 256 `numbers`.
template <class Decode>
void expect_blocks(const std::string& name, std::size_t bytes, std::size_t numbers, Decode&& decode,
                   bool signs_of_zeros = true) {
  const auto file = moe::io::Safetensors::open(fixture("blocks/" + name + ".safetensors"));
  std::size_t cases = 0;
  for (const std::string& tensor : file.names()) {
    if (!tensor.ends_with(".blocks")) continue;
    const std::string of_case = tensor.substr(0, tensor.size() - 7);
    SCOPED_TRACE(of_case);
    const auto blocks = file.bytes(tensor);
    const auto expected = file.values<float>(of_case + ".values");
    ASSERT_EQ(blocks.size() / bytes * numbers, expected.size());
    std::vector<float> found(expected.size());
    decode(blocks.data(), blocks.size() / bytes, found.data());
    expect_same_floats(found, expected, signs_of_zeros);
    ++cases;
  }
  EXPECT_GE(cases, 10u);
}
