#include "moe/io/safetensors_reader.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "hostile_corpus.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "temporary_folder.hpp"
#include "written.hpp"

namespace safetensors_reader_test {

using moe::io::DType;
using moe::io::FileError;
using moe::io::Precision;
using moe::io::Safetensors;
using moe::io::SafetensorsWriter;

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

  EXPECT_THROW(file.matrix<double>("cube"), FileError);
  EXPECT_THROW(file.vector<double>("table"), FileError);
  EXPECT_THROW(file.slice<double>("scalar", 0), FileError);
  EXPECT_THROW(file.slice<double>("cube", 2), FileError);
  EXPECT_THROW(file.slice<double>("empty", 0), FileError);
}

TEST(SafetensorsReader, ADimensionBeyondTheIndexTypeIsRefused) {
  const TemporaryFolder folder;
  const auto path =
      write_file(folder / "file", hostile::file(hostile::test(hostile::u8("[0,18446744073709551615]", "[0,0]"))));
  const auto file = Safetensors::open(path);
  EXPECT_TRUE(file.values<std::uint8_t>("test").empty());
  EXPECT_THROW(file.matrix<std::uint8_t>("test"), FileError);
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
  const std::string text = message_of<FileError>([&] { file.matrix<float>("router.weight"); });
  EXPECT_NE(text.find("'router.weight'"), std::string::npos);
  EXPECT_NE(text.find("file.safetensors"), std::string::npos);
}

TEST(SafetensorsReader, TypesWithoutACounterpartGiveTheirBytes) {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.add("f8", DType::F8_E4M3, {3}, std::vector<std::byte>{std::byte{1}, std::byte{2}, std::byte{3}});
  writer.add("f4", DType::F4, {2, 3}, std::vector<std::byte>(3));
  const auto file = written(folder, writer);
  EXPECT_EQ(file.bytes("f8")[2], std::byte{3});
  EXPECT_EQ(file.tensor("f4").bytes(), 3u);
  EXPECT_THROW(file.values<float>("f8", Precision::rounded), FileError);
  EXPECT_THROW(file.slice<float>("f4", 1), FileError);
}

TEST(SafetensorsReader, ATemporaryGivesWhatOutlivesIt) {
  const TemporaryFolder folder;
  SafetensorsWriter writer;
  writer.metadata = {{"framework", "a name that is too long to lie inside the string"}};
  writer.add("a name that is too long to lie inside the string", DType::F32, {1}, std::vector<float>{1});
  const auto path = std::filesystem::path(written(folder, writer).path());
  std::vector<std::string> names;
  for (const auto& name : Safetensors::open(path).names()) names.push_back(name);
  EXPECT_EQ(names, Safetensors::open(path).names());
  for (const auto& [key, text] : Safetensors::open(path).metadata()) EXPECT_EQ(text, writer.metadata[key]);
  const auto& info = Safetensors::open(path).tensor(names[0]);
  EXPECT_EQ(info.shape, std::vector<std::uint64_t>{1});
}

}  // namespace safetensors_reader_test
