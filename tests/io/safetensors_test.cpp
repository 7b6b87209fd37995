// Written and read back: every element type, every bit, every storage order.
#include "moe/io/safetensors.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "temporary_folder.hpp"
#include "written.hpp"

namespace safetensors_test {

using moe::io::Safetensors;
using moe::io::SafetensorsWriter;

template <class S>
class SafetensorsTypes : public testing::Test {};
using Types = testing::Types<double, float, Eigen::half, Eigen::bfloat16, std::int64_t, std::int32_t, std::int16_t,
                             std::int8_t, std::uint64_t, std::uint32_t, std::uint16_t, std::uint8_t>;
TYPED_TEST_SUITE(SafetensorsTypes, Types);

TYPED_TEST(SafetensorsTypes, EveryBitPatternRoundTrips) {
  const TemporaryFolder folder;
  std::vector<std::uint8_t> raw;
  for (int i = 0; i < 256; ++i)
    for (std::size_t byte = 0; byte < sizeof(TypeParam); ++byte)
      raw.push_back(static_cast<std::uint8_t>(byte + 1 == sizeof(TypeParam) ? i : (i * 37 + 0x7f) & 0xff));
  std::vector<TypeParam> values(256);
  std::memcpy(values.data(), raw.data(), raw.size());  // NaN payloads and denormals among them

  SafetensorsWriter writer;
  writer.add("values", moe::io::dtype_of<TypeParam>(), {4, 8, 8}, values);
  const auto file = written(folder, writer);
  EXPECT_EQ(file.tensor("values").dtype, moe::io::dtype_of<TypeParam>());
  EXPECT_EQ(file.tensor("values").shape, (std::vector<std::uint64_t>{4, 8, 8}));
  const auto back = file.values<TypeParam>("values");
  ASSERT_EQ(back.size(), values.size());
  EXPECT_EQ(std::memcmp(back.data(), values.data(), raw.size()), 0);
}

TYPED_TEST(SafetensorsTypes, MatricesAndVectorsKeepShapeAndOrder) {
  const TemporaryFolder folder;
  moe::Matrix<TypeParam> matrix(2, 3);
  for (int i = 0; i < 6; ++i) matrix(i / 3, i % 3) = static_cast<TypeParam>(i);
  const Eigen::Matrix<TypeParam, Eigen::Dynamic, Eigen::Dynamic> column_major = matrix;
  const moe::Vector<TypeParam> vector = matrix.col(1);

  SafetensorsWriter writer;
  writer.add("matrix", matrix);
  writer.add("column_major", column_major);
  writer.add("transposed", matrix.transpose());
  writer.add("vector", vector);
  writer.add("row", matrix.row(1));
  const auto file = written(folder, writer);
  EXPECT_EQ(file.values<TypeParam>("matrix"), std::vector<TypeParam>(matrix.data(), matrix.data() + 6));
  EXPECT_EQ(file.matrix<TypeParam>("matrix"), matrix);
  EXPECT_EQ(file.matrix<TypeParam>("column_major"), matrix);
  EXPECT_EQ(file.matrix<TypeParam>("transposed"), matrix.transpose());
  EXPECT_EQ(file.tensor("vector").shape, std::vector<std::uint64_t>{2});
  EXPECT_EQ(file.tensor("row").shape, std::vector<std::uint64_t>{3});
  EXPECT_EQ(file.vector<TypeParam>("vector"), vector);
}

}  // namespace safetensors_test
