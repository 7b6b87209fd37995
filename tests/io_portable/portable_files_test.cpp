// Files by the standard library's streams, as where there is no POSIX: a program of its own, since the macro decides
// for all of a program.
#define MOE_IO_PORTABLE

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "io/gguf_bytes.hpp"
#include "io/temporary_folder.hpp"
#include "moe/expert/linear.hpp"
#include "moe/io/checkpoint.hpp"
#include "moe/io/checkpoint_writer.hpp"
#include "moe/io/model_file.hpp"

namespace portable_files_test {

using moe::io::FileError;
using moe::io::Safetensors;

const moe::Linear<float> model{moe::Matrix<float>{{1, 2}, {3, 4}}, moe::Vector<float>{{5, 6}}};

std::string opening(const std::filesystem::path& path) {
  return message_of<FileError>([&] { Safetensors::open(path); });
}

TEST(PortableFiles, AModelIsSavedReplacedAndLoaded) {
  const TemporaryFolder folder;
  const auto path = folder / "model";
  write_file(path, "an older file");
  moe::io::save(path, model);
  moe::Linear<float> loaded = moe::zeros_like(model);
  moe::io::load(path, loaded);
  EXPECT_EQ(loaded.weight_OD, model.weight_OD);
  EXPECT_EQ(loaded.bias_O, model.bias_O);
  EXPECT_EQ(folder.files(), 1);
  const Safetensors file = Safetensors::open(path);
  EXPECT_EQ(file.vector<float>("bias"), model.bias_O);
  EXPECT_EQ(file.matrix<float>("weight"), (moe::Matrix<float>{{1, 2}, {3, 4}}));  // bytes before those read last
}

TEST(PortableFiles, WhatIsNoFileIsRefused) {
  const TemporaryFolder folder;
  EXPECT_NE(opening(folder / "none").find("cannot open"), std::string::npos);
  EXPECT_NE(opening(folder.path()).find("not a regular file"), std::string::npos);
  EXPECT_NE(opening(write_file(folder / "short", "1234567")).find("too short for a header: 7 bytes"),
            std::string::npos);
  const auto save_to = [](const std::filesystem::path& path) {
    return message_of<FileError>([&] { moe::io::save(path, model); });
  };
  EXPECT_NE(save_to(folder.path()).find("not a regular file"), std::string::npos);
  EXPECT_NE(save_to(folder.path() / "none" / "model").find("cannot write"), std::string::npos);
}

TEST(PortableFiles, AFileThatBecameShorterIsToldSo) {
  const TemporaryFolder folder;
  const auto path = folder / "model";
  moe::io::save(path, model);
  const Safetensors file = Safetensors::open(path);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 4);
  EXPECT_NE(message_of<FileError>([&] { file.bytes("weight"), file.bytes("bias"); }).find("became shorter"),
            std::string::npos);
}

TEST(PortableFiles, ACheckpointIsRead) {
  const TemporaryFolder folder;
  const auto gguf = moe::io::Checkpoint::open(write_file(folder / "model", gguf::small().bytes()));
  EXPECT_EQ(gguf.stored("w").matrix<float>(), (moe::Matrix<float>{{0, 1, 2}, {3, 4, 5}}));
  moe::io::save(folder / "model.safetensors", model);
  const auto checkpoint = moe::io::Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint.stored("weight").slice<float>(1), (moe::Matrix<float>{{3}, {4}}));
  const auto opening_none = [&] { moe::io::Checkpoint::open(folder / "none"); };
  EXPECT_NE(message_of<FileError>(opening_none).find("cannot open"), std::string::npos);
}

TEST(PortableFiles, AModeIsKept) {
  using std::filesystem::perms;
  const TemporaryFolder folder;
  const auto path = write_file(folder / "model", "an older file");
  std::filesystem::permissions(path, perms::owner_read | perms::owner_write);
  moe::io::save(path, model);
  EXPECT_EQ(std::filesystem::status(path).permissions(), perms::owner_read | perms::owner_write);
}

TEST(PortableFiles, ACheckpointIsWritten) {
  const TemporaryFolder folder;
  moe::io::CheckpointWriter writer;
  for (const char* name : {"a", "b"})
    writer.add({name, moe::io::format_of(moe::io::DType::I8), {3}, [](const moe::io::ByteSink& sink) {
                  sink(std::vector<std::byte>(3, std::byte{7}));
                }});
  writer.write_folder(folder / "model", {.shard_size = 3});
  writer.write_gguf(folder / "model.gguf");
  EXPECT_EQ(folder.files(), 2);
  for (const char* path : {"model", "model.gguf"}) {
    const auto bytes = moe::io::Checkpoint::open(folder / path).bytes("b");
    ASSERT_EQ(bytes.size(), 3u);
    EXPECT_EQ(bytes.bytes()[2], std::byte{7});
  }
}

}  // namespace portable_files_test
