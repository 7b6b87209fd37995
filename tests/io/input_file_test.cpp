#include "moe/io/input_file.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "temporary_folder.hpp"

namespace input_file_test {

using moe::detail::InputFile;
using moe::io::FileError;

std::string text_of(const InputFile& file, std::uint64_t offset, std::size_t count) {
  std::string text(count, ' ');
  file.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

TEST(InputFile, ReadsAtAnyOffset) {
  const TemporaryFolder folder;
  const InputFile file(write_file(folder / "file", "abcdefgh"));
  EXPECT_EQ(file.size(), 8u);
  EXPECT_EQ(file.name(), (folder / "file").string());
  EXPECT_EQ(text_of(file, 5, 3), "fgh");
  EXPECT_EQ(text_of(file, 0, 2), "ab");
  EXPECT_EQ(text_of(file, 8, 0), "");
}

TEST(InputFile, KeepsWhatItOpened) {
  const TemporaryFolder folder;
  const InputFile file(write_file(folder / "file", "old"));
  write_file(folder / "new", "new");
  std::filesystem::rename(folder / "new", folder / "file");
  EXPECT_EQ(text_of(file, 0, 3), "old");
}

TEST(InputFile, MapsAnyPart) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 10000; ++i) text += static_cast<char>('a' + i % 26);
  const InputFile file(write_file(folder / "file", text));
  for (const std::size_t offset : {0u, 1u, 4096u, 9000u})
    for (const std::size_t count : {0u, 1u, 900u, 1000u}) {
      const moe::io::MappedBytes mapped = file.map(offset, count);
      const auto bytes = mapped.bytes();
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), text.substr(offset, count));
    }
  std::filesystem::resize_file(folder / "file", 5000);
  EXPECT_NE(message_of<FileError>([&] { file.map(4000, 1001); }).find("became shorter"), std::string::npos);
  EXPECT_EQ(file.map(4000, 1000).size(), 1000u);
}

TEST(InputFile, WhatCannotBeReadIsRefused) {
  const TemporaryFolder folder;
  const auto error = [](auto&& f) { return message_of<FileError>(f); };
  EXPECT_NE(error([&] { InputFile(folder / "none"); }).find("cannot open"), std::string::npos);
  EXPECT_NE(error([&] { InputFile file(folder.path()); }).find("not a regular file"), std::string::npos);
  const InputFile file(write_file(folder / "file", "abc"));
  EXPECT_NE(error([&] { text_of(file, 1, 3); }).find("became shorter"), std::string::npos);
}

}  // namespace input_file_test
