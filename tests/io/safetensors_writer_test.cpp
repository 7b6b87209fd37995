#include "moe/io/safetensors_writer.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "hostile_corpus.hpp"
#include "moe/io/safetensors_reader.hpp"
#include "temporary_folder.hpp"
#include "written.hpp"

namespace safetensors_writer_test {

using moe::io::DType;
using moe::io::FileError;
using moe::io::Safetensors;
using moe::io::SafetensorsWriter;

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
  EXPECT_THROW(writer.add("w", DType::F32, {2, 2}, three), FileError);
  EXPECT_THROW(writer.add("w", DType::I32, {3}, three), FileError);
  EXPECT_THROW(writer.add("w", DType::F32, {1ull << 32, 1ull << 32}, three), FileError);
  EXPECT_THROW(writer.add("w", DType::F4, {3}, std::vector<std::byte>(2)), FileError);
  writer.add("w", DType::F32, {3}, three);
  EXPECT_THROW(writer.add("w", DType::F32, {3}, three), FileError);
}

TEST(SafetensorsWriter, NeverWritesWhatTheReaderRefuses) {
  const TemporaryFolder folder;
  const auto refuses = [&](const std::string& name, std::size_t rank = 1) {
    SafetensorsWriter writer;
    writer.add(name, DType::F32, std::vector<std::uint64_t>(rank, 1), std::vector<float>(1));
    EXPECT_THROW(writer.write(folder / "file"), FileError) << name;
  };
  refuses("__metadata__");
  refuses(std::string("a\0b", 3));
  refuses("../a");
  refuses("\xff");
  refuses("rank", 65);
  SafetensorsWriter writer;
  writer.metadata["k"] = "\xc3";
  EXPECT_THROW(writer.write(folder / "file"), FileError);
  EXPECT_EQ(folder.files(), 0);
}

}  // namespace safetensors_writer_test
