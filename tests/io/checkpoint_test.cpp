#include "moe/io/checkpoint.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "block_fixture.hpp"
#include "gguf_bytes.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "temporary_folder.hpp"

#ifdef __linux__
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#endif

namespace checkpoint_test {

using moe::Matrix;
using moe::io::Checkpoint;
using moe::io::DType;
using moe::io::FileError;
using moe::io::Precision;

TEST(Checkpoint, AFolderOfShardsIsListedAndRead) {
  const auto checkpoint = Checkpoint::open(fixture("mixtral_sharded"));
  EXPECT_EQ(checkpoint.architecture(), "mixtral");
  EXPECT_EQ(checkpoint.configuration().get<int>("num_local_experts"), 4);
  EXPECT_EQ(checkpoint.names().size(), 30u);
  const std::string name = "model.layers.0.block_sparse_moe.experts.1.w1.weight";
  EXPECT_EQ(to_string(checkpoint.tensor(name)), "BF16 [10, 12]");
  EXPECT_EQ(checkpoint.tensor(name).file, "model-00001-of-00003.safetensors");
  const auto shard = moe::io::Safetensors::open(fixture("mixtral_sharded/model-00001-of-00003.safetensors"));
  EXPECT_EQ(checkpoint.stored(name).matrix<float>(), shard.matrix<float>(name));
  const auto mapped = checkpoint.bytes(name);
  EXPECT_EQ(std::vector<std::byte>(mapped.bytes().begin(), mapped.bytes().end()), shard.bytes(name));
  EXPECT_FALSE(checkpoint.contains("model.layers.9.w"));
  EXPECT_NE(message_of<FileError>([&] { checkpoint.tensor("model.layers.9.w"); }).find("no tensor 'model.layers.9.w'"),
            std::string::npos);
}

TEST(Checkpoint, ATensorOfAMissingShardIsAnErrorWhenItIsWanted) {
  const TemporaryFolder folder;
  for (const char* name : {"config.json", "model.safetensors.index.json", "model-00001-of-00003.safetensors",
                           "model-00003-of-00003.safetensors"})
    write_file(folder / name, read_file(fixture("mixtral_sharded/" + std::string(name))));
  const auto checkpoint = Checkpoint::open(folder.path());
  const std::string name = "model.layers.0.block_sparse_moe.experts.2.w2.weight";
  EXPECT_TRUE(checkpoint.contains(name));
  EXPECT_EQ(checkpoint.missing().at(name), "model-00002-of-00003.safetensors");
  const std::string reason = message_of<FileError>([&] { checkpoint.stored(name); });
  EXPECT_NE(reason.find("'" + name + "' is in 'model-00002-of-00003.safetensors', which is missing"), std::string::npos)
      << reason;
  EXPECT_EQ(checkpoint.stored("model.layers.0.block_sparse_moe.gate.weight").matrix<double>().rows(), 4);
}

TEST(Checkpoint, AGgufFileIsListedAndRead) {
  const TemporaryFolder folder;
  const auto checkpoint = Checkpoint::open(write_file(folder / "model.gguf", gguf::small().bytes()));
  EXPECT_TRUE(checkpoint.is_gguf());
  EXPECT_EQ(checkpoint.architecture(), "toy");
  EXPECT_EQ(to_string(checkpoint.tensor("w")), "F32 [2, 3]");
  EXPECT_EQ(checkpoint.stored("w").matrix<double>(), (Matrix<double>{{0, 1, 2}, {3, 4, 5}}));
}

TEST(Checkpoint, ReadingGoesOnWhenTheFilesAreReplaced) {
  const TemporaryFolder folder;
  const auto path = write_file(folder / "model.gguf", gguf::small().bytes());
  const auto checkpoint = Checkpoint::open(path);
  const auto before = checkpoint.stored("w");
  std::filesystem::rename(write_file(folder / "new", "short"), path);
  EXPECT_EQ(before.matrix<float>()(1, 2), 5);
  EXPECT_EQ(checkpoint.stored("w").matrix<float>()(1, 2), 5);
}

// Every element type and block type that can be listed is read, or refused by a sentence that names the tensor.
TEST(Checkpoint, WhateverIsListedIsReadOrRefusedInWords) {
  const TemporaryFolder folder;
  moe::io::SafetensorsWriter writer;
  for (const auto& row : moe::detail::dtype_rows)
    writer.add(std::string(row.name), row.dtype, {2, 4}, std::vector<std::byte>(row.bits));
  writer.write(folder / "model.safetensors");
  gguf::File file;
  for (const auto& row : moe::detail::gguf_formats) {
    file.tensors.push_back(
        gguf::tensor(std::string(row.format.name), {row.format.elements, 2}, row.number, file.data.size()));
    file.data = gguf::padded(file.data + std::string(2 * row.format.bytes, '\0'));
  }
  write_file(folder / "model.gguf", file.bytes());
  for (const auto& path : {folder.path(), folder / "model.gguf"}) {
    const auto checkpoint = Checkpoint::open(path);
    EXPECT_GT(checkpoint.names().size(), 20u);
    for (const std::string& name : checkpoint.names()) {
      const std::string reason = message_of<FileError>([&] {
        EXPECT_EQ(checkpoint.stored(name).matrix<float>(Precision::rounded).rows(), 2);
        EXPECT_EQ(checkpoint.stored(name).matrix<double>(Precision::rounded).rows(), 2);
      });
      const std::string sentence = "tensor '" + name + "': numbers of the format " + name + " cannot be read";
      EXPECT_EQ(reason.empty(), checkpoint.tensor(name).format.can_decode()) << name;
      EXPECT_TRUE(reason.empty() || reason.find(sentence) != std::string::npos) << reason;
    }
  }
}

#ifdef __linux__

// A tensor of 1 TiB, which is a hole in the file, and a small one behind it.
TEST(Checkpoint, OneTensorCostsNoMoreThanThatTensor) {
  const TemporaryFolder folder;
  const std::uint64_t large = std::uint64_t{1} << 40;
  gguf::File file = gguf::small();
  file.tensors = {gguf::tensor("large", {1ull << 20, 1ull << 20}, 24, 0), gguf::tensor("w", {3, 2}, 0, large)};
  file.data.clear();
  const std::string header = file.bytes();
  const auto path = write_file(folder / "model.gguf", header);
  std::filesystem::resize_file(path, header.size() + large);
  std::ofstream(path, std::ios::binary | std::ios::app) << gguf::small().data;
  const auto read = [&] {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit limit{};
    limit.rlim_cur = limit.rlim_max = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) + (std::size_t{64} << 20);
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
    const auto checkpoint = Checkpoint::open(path);
    if (checkpoint.tensor("large").bytes != large) _exit(3);
    _exit(checkpoint.stored("w").matrix<float>(Precision::exact, moe::Serial{})(1, 2) == 5 ? 0 : 4);
  };
  EXPECT_EXIT(read(), testing::ExitedWithCode(0), "");
}

#endif

moe::io::SafetensorsWriter eight_bit_floats() {
  moe::io::SafetensorsWriter writer;
  writer.add("a.weight", DType::F8_E4M3, {2, 3}, std::vector<std::byte>(6, std::byte{0x38}));  // ones
  return writer;
}

TEST(Checkpoint, ScalesBesideAWeightAreApplied) {
  const TemporaryFolder folder;
  const auto stored = [&](moe::io::SafetensorsWriter writer, const std::string& config) {
    writer.write(folder / "model.safetensors");
    write_file(folder / "config.json", config);
    return Checkpoint::open(folder.path()).stored("a.weight").matrix<float>();
  };
  const auto error = [&](auto&&... given) { return message_of<FileError>([&] { stored(given...); }); };
  auto writer = eight_bit_floats();
  EXPECT_EQ(stored(writer, "{}"), Matrix<float>::Ones(2, 3));
  writer.add("a.weight_scale_inv", Matrix<float>{{3}});
  EXPECT_EQ(stored(writer, "{}"), Matrix<float>::Constant(2, 3, 3));
  EXPECT_NE(error(writer, R"({"quantization_config": {"weight_block_size": [1, 128]}})").find("not F32 [2, 1]"),
            std::string::npos);
  EXPECT_NE(error(writer, R"({"quantization_config": {"weight_block_size": [128]}})").find("two dimensions"),
            std::string::npos);
  for (const char* name : {"a.weight_scale", "a.scale"}) {
    auto other = eight_bit_floats();
    other.add(name, Matrix<float>{{3}});
    EXPECT_NE(error(other, "{}").find("has scales in '" + std::string(name) + "'"), std::string::npos);
  }
  moe::io::SafetensorsWriter wide;
  wide.add("a.weight", Matrix<float>::Ones(2, 3));
  wide.add("a.weight_scale_inv", Matrix<float>{{3}});
  EXPECT_NE(error(wide, "{}").find("is F32 [2, 3] and has 'a.weight_scale_inv'"), std::string::npos);
}

}  // namespace checkpoint_test
