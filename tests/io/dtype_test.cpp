#include "moe/io/dtype.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>

namespace dtype_test {

using moe::io::DType;

TEST(DType, EveryNameIsRead) {
  for (const auto& row : moe::detail::dtype_rows) {
    EXPECT_EQ(moe::io::dtype_from_name(moe::io::dtype_name(row.dtype)), row.dtype);
    EXPECT_EQ(moe::io::dtype_bits(row.dtype), row.bits);
  }
  EXPECT_FALSE(moe::io::dtype_from_name("f32"));  // case matters
  EXPECT_FALSE(moe::io::dtype_from_name(""));
}

template <class S>
void expect_dtype(DType dtype) {
  EXPECT_EQ(moe::io::dtype_of<S>(), dtype);
  EXPECT_EQ(moe::io::dtype_bits(dtype), 8 * sizeof(S));
}

TEST(DType, EveryTypeOfCppHasOneOfItsWidth) {
  expect_dtype<double>(DType::F64);
  expect_dtype<float>(DType::F32);
  expect_dtype<Eigen::half>(DType::F16);
  expect_dtype<Eigen::bfloat16>(DType::BF16);
  expect_dtype<std::int64_t>(DType::I64);
  expect_dtype<std::int8_t>(DType::I8);
  expect_dtype<std::uint32_t>(DType::U32);
  expect_dtype<std::uint16_t>(DType::U16);
  static_assert(!moe::detail::FileScalar<bool>);
}

}  // namespace dtype_test
