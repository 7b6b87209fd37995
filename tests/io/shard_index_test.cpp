#include "moe/io/shard_index.hpp"

#include <gtest/gtest.h>

#include <string>

#include "temporary_folder.hpp"

namespace shard_index_test {

using moe::io::FileError;

auto read(const std::string& text) {
  const TemporaryFolder folder;
  return moe::detail::read_shard_index(write_file(folder / "index.json", text));
}

TEST(ShardIndex, TellsTheFileOfEachTensor) {
  const auto files =
      read(R"({"metadata": {"total_size": 1}, "weight_map": {"a": "x.safetensors", "b": "y.safetensors"}})");
  EXPECT_EQ(files.size(), 2u);
  EXPECT_EQ(files.at("a"), "x.safetensors");
  EXPECT_EQ(files.at("b"), "y.safetensors");
}

TEST(ShardIndex, FilesOfOtherFoldersAreRefused) {
  for (const char* name : {"../x.safetensors", "/x.safetensors", "a/x.safetensors", "a\\\\x.safetensors",
                           "C:x.safetensors", "x\\u0000.safetensors"}) {
    const std::string reason =
        message_of<FileError>([&] { read(R"({"weight_map": {"w": ")" + std::string(name) + R"("}})"); });
    EXPECT_NE(reason.find("index.json: tensor 'w'"), std::string::npos) << name << ": " << reason;
    EXPECT_NE(reason.find("is not the name of a file in the checkpoint's folder"), std::string::npos) << name;
  }
  for (const char* name : {"", ".", "..", "pytorch_model.bin"})
    EXPECT_NE(message_of<FileError>([&] {
                read(R"({"weight_map": {"w": ")" + std::string(name) + R"("}})");
              }).find("is not the name of a safetensors file"),
              std::string::npos)
        << name;
}

TEST(ShardIndex, MalformedOnesAreRefused) {
  for (const char* text : {"{}", R"({"weight_map": []})"})
    EXPECT_NE(message_of<FileError>([&] { read(text); }).find("no object 'weight_map'"), std::string::npos);
  EXPECT_NE(
      message_of<FileError>([&] { read(R"({"weight_map": {"w": 1}})"); }).find("tensor 'w': its file is not a text"),
      std::string::npos);
  EXPECT_NE(message_of<FileError>([&] {
              read(R"({"weight_map": {"../w": "x.safetensors"}})");
            }).find("the name of tensor '../w' has a '..' component"),
            std::string::npos);
  EXPECT_NE(message_of<FileError>([&] {
              read(R"({"weight_map": {"w": "x.safetensors", "w": "y.safetensors"}})");
            }).find("key 'w' is given twice"),
            std::string::npos);
}

}  // namespace shard_index_test
