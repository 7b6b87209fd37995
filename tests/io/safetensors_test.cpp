// Writing and reading back: element types, shapes, conversions, and the bytes of the file.
#include "moe/io/safetensors.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "hostile_corpus.hpp"
#include "temporary_folder.hpp"

namespace safetensors_test {

using moe::io::DType;
using moe::io::Precision;
using moe::io::Safetensors;
using moe::io::SafetensorsError;
using moe::io::SafetensorsWriter;

Safetensors written(const TemporaryFolder& folder, const SafetensorsWriter& writer) {
  writer.write(folder / "file.safetensors");
  return Safetensors::open(folder / "file.safetensors");
}

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

TEST(SafetensorsReader, RanksBecomeMatrices) {
  const TemporaryFolder folder;
  const std::vector<double> values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  SafetensorsWriter writer;
  writer.add("scalar", DType::F64, {}, std::vector<double>{7});
  writer.add("line", DType::F64, {12}, values);
  writer.add("cube", DType::F64, {2, 3, 2}, values);
  writer.add("table", DType::F64, {4, 3}, values);
  writer.add("empty", DType::F64, {0, 5}, std::vector<double>{});
  const auto file = written(folder, writer);
  EXPECT_EQ(file.matrix<double>("scalar"), moe::Matrix<double>::Constant(1, 1, 7));
  EXPECT_EQ(file.vector<double>("scalar"), moe::Vector<double>::Constant(1, 7));
  EXPECT_EQ(file.matrix<double>("line").rows(), 12);
  EXPECT_EQ(file.matrix<double>("line").cols(), 1);
  EXPECT_EQ(file.matrix<double>("empty").rows(), 0);
  EXPECT_EQ(file.matrix<double>("empty").cols(), 5);

  moe::Matrix<double> second(3, 2);
  second << 7, 8, 9, 10, 11, 12;
  EXPECT_EQ(file.slice<double>("cube", 1), second);
  const moe::Vector<double> row = file.slice<double>("table", 3);
  EXPECT_EQ(row, (moe::Vector<double>(3) << 10, 11, 12).finished());
  EXPECT_EQ(file.slice<double>("line", 11)(0, 0), 12);

  EXPECT_THROW(file.matrix<double>("cube"), SafetensorsError);
  EXPECT_THROW(file.vector<double>("table"), SafetensorsError);
  EXPECT_THROW(file.slice<double>("scalar", 0), SafetensorsError);
  EXPECT_THROW(file.slice<double>("cube", 2), SafetensorsError);
  EXPECT_THROW(file.slice<double>("empty", 0), SafetensorsError);
}

TEST(SafetensorsReader, ADimensionBeyondTheIndexTypeIsRefused) {
  const TemporaryFolder folder;
  const auto path =
      write_file(folder / "file", hostile::file(hostile::test(hostile::u8("[0,18446744073709551615]", "[0,0]"))));
  const auto file = Safetensors::open(path);
  EXPECT_TRUE(file.values<std::uint8_t>("test").empty());
  EXPECT_THROW(file.matrix<std::uint8_t>("test"), SafetensorsError);
}

TEST(SafetensorsReader, NamesStandInFileOrderAndAbsentOnesAreNamed) {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.metadata = {{"framework", "moe"}, {"note", "\"quotes\" and \xc3\xa9"}};
  writer.add("b", DType::F32, {1}, std::vector<float>{1});
  writer.add("a", DType::F32, {1}, std::vector<float>{2});
  writer.add("c", DType::F64, {1}, std::vector<double>{3});
  writer.add("", DType::I8, {1}, std::vector<std::int8_t>{4});
  const auto file = written(folder, writer);
  EXPECT_EQ(file.names(), (std::vector<std::string>{"c", "a", "b", ""}));
  EXPECT_EQ(file.metadata(), writer.metadata);
  EXPECT_TRUE(file.contains("a"));
  EXPECT_FALSE(file.contains("router.weight"));
  const std::string text = message_of<SafetensorsError>([&] { file.matrix<float>("router.weight"); });
  EXPECT_NE(text.find("'router.weight'"), std::string::npos);
  EXPECT_NE(text.find("file.safetensors"), std::string::npos);
}

TEST(SafetensorsReader, WideningKeepsEveryValue) {
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

TEST(SafetensorsReader, RoundingNeedsLeave) {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.add("f64", DType::F64, {2}, std::vector<double>{0.1, 1e-300});
  writer.add("large f64", DType::F64, {2}, std::vector<double>{0.1, 1e300});
  writer.add("large f32", DType::F32, {2}, std::vector<float>{-65519, -65520});
  writer.add("large i32", DType::I32, {2}, std::vector<std::int32_t>{65519, 65520});
  writer.add("bf16", DType::BF16, {1}, std::vector<Eigen::bfloat16>{Eigen::bfloat16(3e38f)});
  writer.add("f16", DType::F16, {1}, std::vector<Eigen::half>{Eigen::half(1.0009765625f)});
  const auto file = written(folder, writer);
  EXPECT_THROW(file.values<float>("f64"), SafetensorsError);
  EXPECT_EQ(file.values<float>("f64", Precision::rounded), (std::vector<float>{0.1f, 0.0f}));
  EXPECT_THROW(file.values<float>("large f64", Precision::rounded), SafetensorsError);
  EXPECT_THROW(file.values<Eigen::half>("bf16"), SafetensorsError);
  EXPECT_THROW(file.values<Eigen::bfloat16>("f16"), SafetensorsError);
  EXPECT_THROW(file.values<std::int64_t>("f64", Precision::rounded), SafetensorsError);
  // 65504 is the largest half; from 65520 on, rounding would make it infinite.
  for (const std::string kind : {"f32", "i32"}) {
    const std::string message =
        message_of<SafetensorsError>([&] { file.values<Eigen::half>("large " + kind, Precision::rounded); });
    EXPECT_NE(message.find("'large " + kind + "': value 1, counted from 0"), std::string::npos) << message;
    EXPECT_EQ(std::abs(static_cast<float>(file.slice<Eigen::half>("large " + kind, 0, Precision::rounded)(0))), 65504);
  }
}

TEST(SafetensorsReader, IntegersAreCheckedByValue) {
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
  for (const char* name : {"large", "lowest", "huge"})
    EXPECT_THROW(file.values<double>(name), SafetensorsError) << name;
  EXPECT_EQ(file.values<double>("large", Precision::rounded), std::vector<double>{9007199254740992.0});
  EXPECT_THROW(file.values<std::int32_t>("large", Precision::rounded), SafetensorsError);
  EXPECT_THROW(file.values<std::uint64_t>("negative"), SafetensorsError);
  EXPECT_THROW(file.values<std::int64_t>("huge"), SafetensorsError);
}

TEST(SafetensorsReader, TypesWithoutACounterpartGiveTheirBytes) {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.add("f8", DType::F8_E4M3, {3}, std::vector<std::byte>{std::byte{1}, std::byte{2}, std::byte{3}});
  writer.add("f4", DType::F4, {2, 3}, std::vector<std::byte>(3));
  const auto file = written(folder, writer);
  EXPECT_EQ(file.bytes("f8")[2], std::byte{3});
  EXPECT_EQ(file.tensor("f4").bytes(), 3u);
  EXPECT_THROW(file.values<float>("f8", Precision::rounded), SafetensorsError);
  EXPECT_THROW(file.slice<float>("f4", 1), SafetensorsError);
}

TEST(SafetensorsWriter, TheFileHasExactlyTheseBytes) {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.metadata["k"] = "v";
  writer.add("w", DType::F32, {1}, std::vector<float>{1});
  writer.add("b", DType::U8, {2}, std::vector<std::uint8_t>{5, 6});
  writer.add("z", DType::F64, {}, std::vector<double>{2});
  writer.write(folder / "file");
  std::string header =
      R"({"__metadata__":{"k":"v"},"z":{"dtype":"F64","shape":[],"data_offsets":[0,8]},)"
      R"("w":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"b":{"dtype":"U8","shape":[2],"data_offsets":[12,14]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string data("\0\0\0\0\0\0\0\x40\0\0\x80\x3f\5\6", 14);
  EXPECT_EQ(read_file(folder / "file"), hostile::file(header, data));
}

TEST(SafetensorsWriter, TheOrderOfTheCallsLeavesNoTrace) {
  const TemporaryFolder folder;
  const auto write = [&](const char* file, std::vector<int> order) {
    SafetensorsWriter writer;
    for (const int i : order)
      if (i % 2)
        writer.add(std::to_string(i), moe::Matrix<float>::Constant(i, 2, 0.5f));
      else
        writer.add(std::to_string(i), moe::Matrix<double>::Constant(2, i, 0.25));
    writer.write(folder / file);
  };
  write("forward", {0, 1, 2, 3, 4, 5});
  write("backward", {5, 4, 3, 2, 1, 0});
  EXPECT_EQ(read_file(folder / "forward"), read_file(folder / "backward"));
}

TEST(SafetensorsWriter, AnEmptyFileIsValid) {
  const TemporaryFolder folder;
  EXPECT_TRUE(written(folder, {}).names().empty());
  EXPECT_EQ(read_file(folder / "file.safetensors"), hostile::file("{}      "));
}

TEST(SafetensorsWriter, RefusesWhatDoesNotFit) {
  SafetensorsWriter writer;
  const std::vector<float> three(3);
  EXPECT_THROW(writer.add("w", DType::F32, {2, 2}, three), SafetensorsError);
  EXPECT_THROW(writer.add("w", DType::I32, {3}, three), SafetensorsError);
  EXPECT_THROW(writer.add("w", DType::F32, {1ull << 32, 1ull << 32}, three), SafetensorsError);
  EXPECT_THROW(writer.add("w", DType::F4, {3}, std::vector<std::byte>(2)), SafetensorsError);
  writer.add("w", DType::F32, {3}, three);
  EXPECT_THROW(writer.add("w", DType::F32, {3}, three), SafetensorsError);
}

TEST(SafetensorsWriter, NeverWritesWhatTheReaderRefuses) {
  const TemporaryFolder folder;
  const auto refuses = [&](const std::string& name, std::size_t rank = 1) {
    SafetensorsWriter writer;
    writer.add(name, DType::F32, std::vector<std::uint64_t>(rank, 1), std::vector<float>(1));
    EXPECT_THROW(writer.write(folder / "file"), SafetensorsError) << name;
  };
  refuses("__metadata__");
  refuses(std::string("a\0b", 3));
  refuses("../a");
  refuses("\xff");
  refuses("rank", 65);
  SafetensorsWriter writer;
  writer.metadata["k"] = "\xc3";
  EXPECT_THROW(writer.write(folder / "file"), SafetensorsError);
  EXPECT_EQ(folder.files(), 0);
}

}  // namespace safetensors_test
