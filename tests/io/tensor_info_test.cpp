#include "moe/io/tensor_info.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "temporary_folder.hpp"

namespace tensor_info_test {

using moe::detail::checked_bytes;
using moe::detail::fault_of_name;
using moe::io::DType;
using moe::io::FileError;
using moe::io::TensorInfo;

TEST(TensorInfo, TellsSizeAndBytesAndItself) {
  const TensorInfo info{.dtype = DType::BF16, .shape = {2, 3}, .begin = 4, .end = 16};
  EXPECT_EQ(info.size(), 6u);
  EXPECT_EQ(info.bytes(), 12u);
  EXPECT_EQ(to_string(info), "BF16 [2, 3]");
  EXPECT_EQ(to_string(TensorInfo{}), "F32 []");
  EXPECT_EQ(TensorInfo{}.size(), 1u);  // a scalar
}

TEST(TensorInfo, BytesAreCounted) {
  EXPECT_EQ(checked_bytes("file", "w", {.dtype = DType::F64, .shape = {3, 5}}), 120u);
  EXPECT_EQ(checked_bytes("file", "w", {.dtype = DType::F4, .shape = {3, 2}}), 3u);
  EXPECT_EQ(checked_bytes("file", "w", {.dtype = DType::F32, .shape = {0, 1u << 31}}), 0u);
}

TEST(TensorInfo, SizesThatOverflowOrEndInAByteAreRefused) {
  const auto error = [](const TensorInfo& info) {
    return message_of<FileError>([&] { checked_bytes("file", "w", info); });
  };
  EXPECT_NE(error({.dtype = DType::F32, .shape = {1ull << 32, 1ull << 32}}).find("'w': the size of field 'shape'"),
            std::string::npos);
  EXPECT_NE(error({.dtype = DType::F4, .shape = {3}}).find("F4 [3] does not fill whole bytes"), std::string::npos);
}

TEST(TensorInfo, ProductsOverflowOrNot) {
  using moe::detail::checked_product;
  const std::uint64_t half = 1ull << 32;
  const auto product = [](std::vector<std::uint64_t> dimensions, std::uint64_t factor) {
    return checked_product(dimensions, factor);
  };
  EXPECT_EQ(product({}, 4), 4u);
  EXPECT_EQ(product({2, 3}, 4), 24u);
  EXPECT_EQ(product({half, half - 1}, 1), half * (half - 1));
  EXPECT_EQ(product({half, 0}, 5), 0u);
  EXPECT_FALSE(product({half, half}, 1));
  EXPECT_FALSE(product({half, half, 0}, 1));
  EXPECT_FALSE(product({half, half / 4}, 8));
}

TEST(TensorInfo, NamesThatCouldLeaveAFolderAreFaulty) {
  for (const char* name : {"/a", "\\a", "C:\\a", "../a", "a/..", "a/../b"}) EXPECT_TRUE(fault_of_name(name)) << name;
  EXPECT_TRUE(fault_of_name(std::string("a\0b", 3)));
  for (const char* name : {"", "a", "a..b", "experts.0.w1", "a/b"}) EXPECT_FALSE(fault_of_name(name)) << name;
}

}  // namespace tensor_info_test
