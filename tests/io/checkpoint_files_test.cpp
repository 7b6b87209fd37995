#include "moe/io/checkpoint_files.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "gguf_bytes.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "temporary_folder.hpp"

namespace checkpoint_files_test {

using moe::detail::open_checkpoint_files;
using moe::io::FileError;

void write_tensors(const std::filesystem::path& path, const std::vector<std::string>& names) {
  moe::io::SafetensorsWriter writer;
  for (const std::string& name : names) writer.add(name, moe::Matrix<float>::Ones(2, 3));
  writer.write(path);
}

void write_index(const std::filesystem::path& folder, const nlohmann::json& map) {
  write_file(folder / "model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
}

void expect_refusal(const std::filesystem::path& path, const std::vector<std::string>& words) {
  const std::string reason = message_of<FileError>([&] { open_checkpoint_files(path); });
  for (const std::string& word : words) EXPECT_NE(reason.find(word), std::string::npos) << word << " in: " << reason;
}

/// Two shards, a and b in the first, c in the second.
void write_shards(const TemporaryFolder& folder) {
  write_tensors(folder / "one.safetensors", {"a", "b"});
  write_tensors(folder / "two.safetensors", {"c"});
  write_index(folder.path(), {{"a", "one.safetensors"}, {"b", "one.safetensors"}, {"c", "two.safetensors"}});
}

TEST(CheckpointFiles, ShardsAreReadTogether) {
  const TemporaryFolder folder;
  write_shards(folder);
  const auto files = open_checkpoint_files(folder.path());
  EXPECT_EQ(files.names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(files.tensors.at("c").tensor.file, "two.safetensors");
  EXPECT_TRUE(files.missing.empty());
  EXPECT_FALSE(files.is_gguf);
}

TEST(CheckpointFiles, AMissingShardIsNotYetAnError) {
  const TemporaryFolder folder;
  write_shards(folder);
  std::filesystem::remove(folder / "one.safetensors");
  const auto files = open_checkpoint_files(folder.path());
  EXPECT_EQ(files.names, std::vector<std::string>{"c"});
  EXPECT_EQ(files.missing.size(), 2u);
  EXPECT_EQ(files.missing.at("b"), "one.safetensors");
}

TEST(CheckpointFiles, IndexAndShardsMustAgree) {
  const TemporaryFolder folder;
  write_shards(folder);
  write_index(folder.path(), {{"a", "one.safetensors"}, {"b", "two.safetensors"}, {"c", "two.safetensors"}});
  expect_refusal(folder.path(), {"one.safetensors: tensor 'b' is here", "says in 'two.safetensors'"});
  write_index(folder.path(), {{"a", "one.safetensors"}, {"c", "two.safetensors"}});
  expect_refusal(folder.path(), {"one.safetensors: tensor 'b' is not in model.safetensors.index.json"});
  write_index(folder.path(),
              {{"a", "one.safetensors"}, {"b", "one.safetensors"}, {"c", "two.safetensors"}, {"d", "two.safetensors"}});
  expect_refusal(folder.path(), {"two.safetensors: no tensor 'd'"});
  write_tensors(folder / "two.safetensors", {"b", "c"});
  write_index(folder.path(), {{"a", "one.safetensors"}, {"b", "one.safetensors"}, {"c", "two.safetensors"}});
  expect_refusal(folder.path(), {"two.safetensors: tensor 'b' is in 'one.safetensors' too"});
  write_file(folder / "two.safetensors", "no tensors");
  expect_refusal(folder.path(), {"two.safetensors"});
}

TEST(CheckpointFiles, AFolderIsOneFileOrShards) {
  const TemporaryFolder folder;
  write_shards(folder);
  write_tensors(folder / "model.safetensors", {"whole"});
  write_file(folder / "config.json", R"({"model_type": "toy"})");
  const auto files = open_checkpoint_files(folder.path());
  EXPECT_EQ(files.names, std::vector<std::string>{"whole"});
  EXPECT_EQ(files.configuration.get<std::string>("model_type"), "toy");
  const auto alone = open_checkpoint_files(folder / "one.safetensors");
  EXPECT_EQ(alone.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(alone.configuration.get<std::string>("model_type"), "toy");
  write_file(folder / "config.json", "{");
  expect_refusal(folder.path(), {"config.json: not valid JSON"});
}

TEST(CheckpointFiles, FoldersWithoutSafetensorsAreRefused) {
  const TemporaryFolder folder;
  expect_refusal(folder.path(), {"no model.safetensors and no model.safetensors.index.json"});
  write_file(folder / "pytorch_model.bin.index.json", "{}");
  write_file(folder / "pytorch_model-00001-of-00002.bin", "");
  expect_refusal(folder.path(), {"'pytorch_model-00001-of-00002.bin', a pickle", "is not read"});
  write_file(folder / "model.gguf", "");
  expect_refusal(folder.path(), {"to read 'model.gguf', open that file"});
  expect_refusal(folder / "none", {"none: cannot open"});
}

std::string part(std::uint16_t number, std::uint16_t count, const std::string& tensor, std::int32_t total = 3) {
  gguf::File file = gguf::small();
  file.keys.push_back(gguf::key("split.no", 2, gguf::number(number)));
  file.keys.push_back(gguf::key("split.count", 2, gguf::number(count)));
  if (number == 0) file.keys.push_back(gguf::key("split.tensors.count", 5, gguf::number(total)));
  file.tensors = {gguf::tensor(tensor, {3, 2}, 0, 0)};
  return file.bytes();
}

TEST(CheckpointFiles, SplitGgufFilesAreReadTogether) {
  const TemporaryFolder folder;
  const auto first = write_file(folder / "m-00001-of-00003.gguf", part(0, 3, "a"));
  const auto second = write_file(folder / "m-00002-of-00003.gguf", part(1, 3, "b"));
  const auto third = write_file(folder / "m-00003-of-00003.gguf", part(2, 3, "c"));
  const auto files = open_checkpoint_files(first);
  EXPECT_TRUE(files.is_gguf);
  EXPECT_EQ(files.names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(files.tensors.at("b").tensor.file, "m-00002-of-00003.gguf");
  EXPECT_EQ(files.configuration.get<std::string>("general.architecture"), "toy");

  expect_refusal(second, {"part 2 of 3; open the first, 'm-00001-of-00003.gguf'"});
  expect_refusal(write_file(folder / "renamed.gguf", part(0, 3, "a")), {"must be named as such"});
  write_file(third, part(1, 3, "c"));
  expect_refusal(first, {"m-00003-of-00003.gguf: its keys do not say that it is part 3 of 3"});
  write_file(third, part(2, 3, "a"));
  expect_refusal(first, {"m-00003-of-00003.gguf: tensor 'a' is in 'm-00001-of-00003.gguf' too"});
  write_file(third, part(2, 3, "c"));
  write_file(first, part(0, 3, "a", 4));
  expect_refusal(first, {"its parts have 3 tensors, key 'split.tensors.count' is 4"});
  std::filesystem::remove(third);
  expect_refusal(first, {"part 3, ", "m-00003-of-00003.gguf', is missing"});
}

TEST(CheckpointFiles, AFileIsGgufByItsNameOrItsBegin) {
  const TemporaryFolder folder;
  EXPECT_TRUE(open_checkpoint_files(write_file(folder / "model", gguf::small().bytes())).is_gguf);
  EXPECT_FALSE(open_checkpoint_files(write_file(folder / "model.gguf", gguf::small().bytes())).tensors.empty());
  expect_refusal(write_file(folder / "model.gguf", "GGML" + gguf::small().bytes()), {"model.gguf: not a GGUF file"});
  expect_refusal(write_file(folder / "other", "GG"), {"other: not a safetensors file"});
}

}  // namespace checkpoint_files_test
