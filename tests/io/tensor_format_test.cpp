#include "moe/io/tensor_format.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "moe/core/core.hpp"
#include "temporary_folder.hpp"

namespace tensor_format_test {

using moe::io::DType;
using moe::io::FileError;
using moe::io::Precision;
using moe::io::TensorFormat;

std::vector<TensorFormat> all_formats() {
  std::vector<TensorFormat> formats;
  for (const auto& row : moe::detail::dtype_rows) formats.push_back(moe::io::format_of(row.dtype));
  for (const auto& row : moe::detail::gguf_formats) formats.push_back(row.format);
  return formats;
}

template <class S>
std::vector<S> decoded(const TensorFormat& format, const std::vector<std::byte>& bytes,
                       Precision precision = Precision::exact) {
  std::vector<S> values(bytes.size() / format.bytes * format.elements);
  moe::detail::decode_format("file", "w", format, bytes, values.data(), precision);
  return values;
}

// The property: every format that can be listed is decoded, the same into float and double, or refused by a sentence.
TEST(TensorFormat, IsDecodedOrRefusedInWords) {
  std::mt19937 random(5);
  std::set<std::string> refused;
  for (const TensorFormat& format : all_formats()) {
    SCOPED_TRACE(format.name);
    std::vector<std::byte> bytes(format.bytes * 41);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 63);  // small integers, finite numbers
    const std::string reason = message_of<FileError>([&] { decoded<double>(format, bytes, Precision::rounded); });
    EXPECT_EQ(reason.empty(), format.can_decode());
    if (!reason.empty()) {
      EXPECT_EQ(reason,
                "moe::io: file: tensor 'w': numbers of the format " + std::string(format.name) + " cannot be read");
      refused.insert(std::string(format.name));
      continue;
    }
    const auto narrow = decoded<float>(format, bytes, Precision::rounded);
    const auto wide = decoded<double>(format, bytes, Precision::rounded);
    ASSERT_EQ(narrow.size(), bytes.size() / format.bytes * format.elements);
    for (std::size_t i = 0; i < wide.size(); ++i)
      EXPECT_TRUE(narrow[i] == static_cast<float>(wide[i]) || (std::isnan(narrow[i]) && std::isnan(wide[i]))) << i;
  }
  EXPECT_EQ(refused, (std::set<std::string>{"C64",     "F4",     "F6_E2M3", "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
                                            "IQ1_M",   "IQ1_S",  "IQ2_S",   "IQ2_XS",  "IQ2_XXS",     "IQ3_S",
                                            "IQ3_XXS", "IQ4_NL", "IQ4_XS",  "NVFP4",   "Q1_0",        "Q2_0",
                                            "Q2_K",    "Q3_K",   "Q8_1",    "Q8_K",    "TQ1_0",       "TQ2_0"}));
}

TEST(TensorFormat, WidthsAreThoseOfTheElementTypes) {
  for (const auto& row : moe::detail::dtype_rows) {
    const TensorFormat format = moe::io::format_of(row.dtype);
    EXPECT_EQ(format.bytes * 8, format.elements * row.bits) << row.name;
    EXPECT_EQ(format.name, row.name);
    EXPECT_EQ(format.dtype, row.dtype);
  }
}

TEST(TensorFormat, NumbersOfGgufAreFoundOnce) {
  std::set<std::uint32_t> numbers;
  for (const auto& row : moe::detail::gguf_formats) {
    EXPECT_TRUE(numbers.insert(row.number).second);
    EXPECT_EQ(moe::io::gguf_format(row.number)->name, row.format.name);
    EXPECT_LE(row.format.elements, 256u);
  }
  EXPECT_EQ(moe::io::gguf_format(12)->name, "Q4_K");
  EXPECT_FALSE(moe::io::gguf_format(4));
  EXPECT_FALSE(moe::io::gguf_format(~0u));
}

TEST(TensorFormat, BrainFloatsAndHalvesKeepEveryCode) {
  std::vector<std::byte> bytes;
  for (unsigned code = 0; code < 65536; ++code) {
    bytes.push_back(static_cast<std::byte>(code & 255));
    bytes.push_back(static_cast<std::byte>(code >> 8));
  }
  const auto expect = [&](DType dtype, auto of_type) {
    const auto found = decoded<double>(moe::io::format_of(dtype), bytes);
    for (unsigned code = 0; code < 65536; ++code) {
      const auto value = Eigen::numext::bit_cast<decltype(of_type)>(static_cast<std::uint16_t>(code));
      const auto expected = static_cast<double>(static_cast<float>(value));
      EXPECT_TRUE(found[code] == expected || (std::isnan(found[code]) && std::isnan(expected))) << code;
    }
  };
  expect(DType::BF16, Eigen::bfloat16{});
  expect(DType::F16, Eigen::half{});
}

TEST(TensorFormat, DoublesAreNotRoundedUnasked) {
  const double value = 0.1;
  std::vector<std::byte> bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  const TensorFormat format = moe::io::format_of(DType::F64);
  EXPECT_EQ(decoded<double>(format, bytes)[0], value);
  EXPECT_EQ(decoded<float>(format, bytes, Precision::rounded)[0], 0.1f);
  EXPECT_NE(message_of<FileError>([&] { decoded<float>(format, bytes); }).find("would round"), std::string::npos);
}

}  // namespace tensor_format_test
