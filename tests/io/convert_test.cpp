#include "moe/io/convert.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "moe/io/safetensors.hpp"
#include "temporary_folder.hpp"
#include "written.hpp"

namespace convert_test {

using moe::io::DType;
using moe::io::FileError;
using moe::io::Precision;
using moe::io::Safetensors;
using moe::io::SafetensorsWriter;

TEST(Convert, WideningKeepsEveryValue) {
  const TemporaryFolder folder;
  const float tiny = std::numeric_limits<float>::denorm_min();
  SafetensorsWriter writer;
  writer.add("f32", DType::F32, {3}, std::vector<float>{0.1f, tiny, -std::numeric_limits<float>::infinity()});
  writer.add("f16", DType::F16, {2}, std::vector<Eigen::half>{Eigen::half(1.5f), Eigen::half(65504.0f)});
  writer.add("bf16", DType::BF16, {1}, std::vector<Eigen::bfloat16>{Eigen::bfloat16(3e38f)});
  writer.add("i32", DType::I32, {2}, std::vector<std::int32_t>{-2147483647 - 1, 2147483647});
  writer.add("bool", DType::BOOL, {2}, std::vector<std::uint8_t>{0, 1});
  const auto file = written(folder, writer);
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(file.values<double>("f32"), (std::vector<double>{double{0.1f}, double{tiny}, -infinity}));
  EXPECT_EQ(file.values<float>("f16"), (std::vector<float>{1.5f, 65504.0f}));
  EXPECT_EQ(file.values<float>("bf16"), std::vector<float>{static_cast<float>(Eigen::bfloat16(3e38f))});
  EXPECT_EQ(file.values<double>("i32"), (std::vector<double>{-2147483648.0, 2147483647.0}));
  EXPECT_EQ(file.values<std::int64_t>("i32"), (std::vector<std::int64_t>{-2147483648, 2147483647}));
  EXPECT_EQ(file.values<std::int32_t>("bool"), (std::vector<std::int32_t>{0, 1}));
}

TEST(Convert, RoundingNeedsLeave) {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.add("f64", DType::F64, {2}, std::vector<double>{0.1, 1e-300});
  writer.add("large f64", DType::F64, {2}, std::vector<double>{0.1, 1e300});
  writer.add("large f32", DType::F32, {2}, std::vector<float>{-65519, -65520});
  writer.add("large i32", DType::I32, {2}, std::vector<std::int32_t>{65519, 65520});
  writer.add("bf16", DType::BF16, {1}, std::vector<Eigen::bfloat16>{Eigen::bfloat16(3e38f)});
  writer.add("f16", DType::F16, {1}, std::vector<Eigen::half>{Eigen::half(1.0009765625f)});
  const auto file = written(folder, writer);
  EXPECT_THROW(file.values<float>("f64"), FileError);
  EXPECT_EQ(file.values<float>("f64", Precision::rounded), (std::vector<float>{0.1f, 0.0f}));
  EXPECT_THROW(file.values<float>("large f64", Precision::rounded), FileError);
  EXPECT_THROW(file.values<Eigen::half>("bf16"), FileError);
  EXPECT_THROW(file.values<Eigen::bfloat16>("f16"), FileError);
  EXPECT_THROW(file.values<std::int64_t>("f64", Precision::rounded), FileError);
  // 65504 is the largest half; from 65520 on, rounding would make it infinite.
  for (const std::string kind : {"f32", "i32"}) {
    const std::string message =
        message_of<FileError>([&] { file.values<Eigen::half>("large " + kind, Precision::rounded); });
    EXPECT_NE(message.find("'large " + kind + "': value 1, counted from 0"), std::string::npos) << message;
    EXPECT_EQ(std::abs(static_cast<float>(file.slice<Eigen::half>("large " + kind, 0, Precision::rounded)(0))), 65504);
  }
}

TEST(Convert, IntegersAreCheckedByValue) {
  const TemporaryFolder folder;
  const std::int64_t limit = std::int64_t{1} << 53;
  SafetensorsWriter writer;
  writer.add("index", DType::I64, {3}, std::vector<std::int64_t>{-limit, 3, limit});
  writer.add("large", DType::I64, {1}, std::vector<std::int64_t>{limit + 1});
  writer.add("lowest", DType::I64, {1}, std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::lowest()});
  writer.add("negative", DType::I32, {1}, std::vector<std::int32_t>{-1});
  writer.add("huge", DType::U64, {1}, std::vector<std::uint64_t>{~std::uint64_t{0}});
  const auto file = written(folder, writer);
  EXPECT_EQ(file.values<double>("index"), (std::vector<double>{-9007199254740992.0, 3.0, 9007199254740992.0}));
  for (const char* name : {"large", "lowest", "huge"}) EXPECT_THROW(file.values<double>(name), FileError) << name;
  EXPECT_EQ(file.values<double>("large", Precision::rounded), std::vector<double>{9007199254740992.0});
  EXPECT_THROW(file.values<std::int32_t>("large", Precision::rounded), FileError);
  EXPECT_THROW(file.values<std::uint64_t>("negative"), FileError);
  EXPECT_THROW(file.values<std::int64_t>("huge"), FileError);
}

/// Converted from the bytes of `from`; the number of the first value that does not fit.
template <class To, class From>
std::size_t decoded(const std::vector<From>& from, std::vector<To>& to, Precision precision = Precision::exact) {
  to.resize(from.size());
  return moe::detail::decode(moe::io::dtype_of<From>(), std::as_bytes(std::span(from)), to.data(), precision);
}

TEST(Convert, TheSameTypeIsCopiedBitForBit) {
  std::vector<float> from(2), to;
  const std::uint32_t payload = 0x7fc12345, denormal = 1;
  std::memcpy(&from[0], &payload, 4);
  std::memcpy(&from[1], &denormal, 4);
  EXPECT_EQ(decoded(from, to), 2u);
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 8), 0);
}

TEST(Convert, StopsAtTheFirstValueThatDoesNotFit) {
  std::vector<std::int8_t> bytes;
  EXPECT_EQ(decoded(std::vector<std::int64_t>{1, -128, 128, 5}, bytes), 2u);
  std::vector<float> floats;
  EXPECT_EQ(decoded(std::vector<double>{1, 1e300}, floats, Precision::rounded), 1u);
}
}  // namespace convert_test
