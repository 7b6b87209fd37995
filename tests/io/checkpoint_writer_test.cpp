#include "moe/io/checkpoint_writer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "temporary_folder.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#endif

namespace checkpoint_writer_test {

using moe::io::ByteSink;
using moe::io::Checkpoint;
using moe::io::CheckpointWriter;
using moe::io::DType;
using moe::io::FileError;
using moe::io::format_of;

/// A tensor of bytes 0, 1, 2, ..., in two pieces.
void add(CheckpointWriter& writer, const std::string& name, DType dtype, std::vector<std::uint64_t> shape) {
  std::uint64_t count = moe::io::dtype_bits(dtype) / 8;
  for (const std::uint64_t dimension : shape) count *= dimension;
  writer.add({name, format_of(dtype), std::move(shape), [count](const ByteSink& sink) {
                std::vector<std::byte> bytes(static_cast<std::size_t>(count));
                for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
                const std::span<const std::byte> all(bytes);
                sink(all.first(bytes.size() / 3));
                sink(all.subspan(bytes.size() / 3));
              }});
}

CheckpointWriter writer_of_three() {
  CheckpointWriter writer;
  writer.configuration = {{"model_type", "toy"}};
  add(writer, "odd", DType::BF16, {3});
  add(writer, "wide", DType::F32, {2, 2});
  add(writer, "bytes", DType::U8, {5});
  return writer;
}

void expect_three(const Checkpoint& checkpoint) {
  EXPECT_EQ(checkpoint.architecture(), "toy");
  ASSERT_EQ(checkpoint.names().size(), 3u);
  EXPECT_EQ(to_string(checkpoint.tensor("wide")), "F32 [2, 2]");
  for (const std::string& name : checkpoint.names()) {
    const auto bytes = checkpoint.bytes(name);
    for (std::size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes.bytes()[i], static_cast<std::byte>(i));
  }
}

TEST(CheckpointWriter, OneFile) {
  const TemporaryFolder folder;
  writer_of_three().write_folder(folder / "model");
  const auto checkpoint = Checkpoint::open(folder / "model");
  expect_three(checkpoint);
  EXPECT_EQ(checkpoint.names(), (std::vector<std::string>{"wide", "odd", "bytes"}));  // aligned
  EXPECT_EQ(checkpoint.tensor("wide").begin % 4, 0u);
}

TEST(CheckpointWriter, TheOrderStaysWhereAllAreAligned) {
  const TemporaryFolder folder;
  CheckpointWriter writer;
  add(writer, "z", DType::BF16, {4});
  add(writer, "a", DType::F32, {2});
  writer.write_folder(folder / "model");
  EXPECT_EQ(Checkpoint::open(folder / "model").names(), (std::vector<std::string>{"z", "a"}));
}

TEST(CheckpointWriter, Shards) {
  for (const auto& [size, files] :
       std::vector<std::pair<std::uint64_t, int>>{{1, 3}, {16, 3}, {21, 2}, {22, 2}, {1000, 1}}) {
    SCOPED_TRACE(size);
    const TemporaryFolder folder;
    writer_of_three().write_folder(folder.path(), {.shard_size = size});
    EXPECT_EQ(folder.files(), files + 2);
    expect_three(Checkpoint::open(folder.path()));
    const std::string last = "model-0000" + std::to_string(files) + "-of-0000" + std::to_string(files) + ".safetensors";
    const auto index = nlohmann::json::parse(read_file(folder / "model.safetensors.index.json"));
    EXPECT_EQ(index["metadata"]["total_size"], 6 + 16 + 5);
    EXPECT_EQ(index["weight_map"].size(), 3u);
    EXPECT_EQ(index["weight_map"]["bytes"], last);
    EXPECT_TRUE(std::filesystem::exists(folder / last));
  }
}

TEST(CheckpointWriter, Gguf) {
  const TemporaryFolder folder;
  for (const std::uint32_t alignment : {0u, 64u}) {
    CheckpointWriter writer;
    writer.gguf_keys = {{.name = "general.architecture", .type = moe::io::GgufType::text, .value = "toy"}};
    if (alignment > 0)
      writer.gguf_keys.push_back({.name = "general.alignment", .type = moe::io::GgufType::u32, .value = alignment});
    add(writer, "a", DType::F16, {3});
    add(writer, "b", DType::F32, {2, 3});
    writer.write_gguf(folder / "model.gguf");
    const auto checkpoint = Checkpoint::open(folder / "model.gguf");
    EXPECT_EQ(checkpoint.architecture(), "toy");
    EXPECT_EQ(to_string(checkpoint.tensor("b")), "F32 [2, 3]");
    EXPECT_EQ(checkpoint.tensor("b").begin - checkpoint.tensor("a").begin, alignment > 0 ? 64u : 32u);
    EXPECT_EQ(checkpoint.bytes("b").size(), 24u);
  }
  EXPECT_EQ(folder.files(), 1);
}

TEST(CheckpointWriter, NothingIsAModelToo) {
  const TemporaryFolder folder;
  CheckpointWriter().write_folder(folder / "model");
  CheckpointWriter().write_gguf(folder / "model.gguf");
  EXPECT_TRUE(Checkpoint::open(folder / "model").names().empty());
  EXPECT_TRUE(Checkpoint::open(folder / "model.gguf").names().empty());
}

TEST(CheckpointWriter, TellsHowFarItIs) {
  const TemporaryFolder folder;
  std::vector<std::uint64_t> told;
  writer_of_three().write_folder(folder / "model", {.progress = [&](std::uint64_t done, std::uint64_t all) {
                                   EXPECT_EQ(all, 27u);
                                   told.push_back(done);
                                 }});
  EXPECT_EQ(told.size(), 6u);
  EXPECT_EQ(told.back(), 27u);
}

TEST(CheckpointWriter, RefusesNames) {
  CheckpointWriter writer = writer_of_three();
  const auto error = [&](const std::string& name) {
    return message_of<FileError>([&] { add(writer, name, DType::F32, {1}); });
  };
  EXPECT_NE(error("odd").find("tensor 'odd' is given twice"), std::string::npos);
  EXPECT_NE(error("../x").find("has a '..' component"), std::string::npos);
  EXPECT_NE(error("/x").find("is an absolute path"), std::string::npos);
  EXPECT_NE(error(std::string("a\0b", 3)).find("NUL"), std::string::npos);
  EXPECT_EQ(writer.tensors().size(), 3u);
}

/// On any error the folder is as it was.
void expect_untouched(const CheckpointWriter& writer, const std::string& part,
                      const moe::io::WriteOptions& options = {}) {
  const TemporaryFolder folder;
  const auto model = folder / "model";
  const std::string fresh = message_of<FileError>([&] { writer.write_folder(model, options); });
  EXPECT_NE(fresh.find(part), std::string::npos) << fresh;
  EXPECT_EQ(folder.files(), 0);
  writer_of_three().write_folder(model);
  const std::string config = read_file(model / "config.json"), tensors = read_file(model / "model.safetensors");
  EXPECT_NE(message_of<FileError>([&] { writer.write_folder(model, options); }), "");
  EXPECT_EQ(read_file(model / "config.json"), config);
  EXPECT_EQ(read_file(model / "model.safetensors"), tensors);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(model), {}), 2);
}

TEST(CheckpointWriter, AfterAnErrorTheOldFilesAreThere) {
  CheckpointWriter fails = writer_of_three();
  fails.add({"last", format_of(DType::F32), {1}, [](const ByteSink&) { throw FileError("no bytes"); }});
  expect_untouched(fails, "no bytes");
  expect_untouched(fails, "no bytes", {.shard_size = 1});
  CheckpointWriter checked = writer_of_three();
  checked.add_check([](const Checkpoint& written) {
    expect_three(written);
    throw FileError("not as it should be");
  });
  expect_untouched(checked, "not as it should be");
  CheckpointWriter blocks;
  blocks.add({"w", *moe::io::gguf_format(8), {32}, [](const ByteSink& sink) { sink(std::vector<std::byte>(34)); }});
  expect_untouched(blocks, "safetensors has no type Q8_0");
}

TEST(CheckpointWriter, ShardsAreNotHiddenByAFile) {
  const TemporaryFolder folder;
  writer_of_three().write_folder(folder.path());
  EXPECT_NE(message_of<FileError>([&] {
              writer_of_three().write_folder(folder.path(), {.shard_size = 10});
            }).find("model.safetensors: is there"),
            std::string::npos);
  EXPECT_EQ(folder.files(), 2);
}

TEST(CheckpointWriter, NoShardsStayBesideAFile) {
  const TemporaryFolder folder;
  writer_of_three().write_folder(folder.path(), {.shard_size = 10});
  const auto before = folder.files();
  const std::string message = message_of<FileError>([&] { writer_of_three().write_folder(folder.path()); });
  EXPECT_NE(message.find("model.safetensors.index.json: is there"), std::string::npos) << message;
  EXPECT_EQ(folder.files(), before);
  expect_three(Checkpoint::open(folder.path()));
}

TEST(CheckpointWriter, ALayerIsAddedWholeOrNotAtAll) {
  CheckpointWriter writer = writer_of_three();
  const auto tensor = [](const std::string& name) {
    return moe::io::TensorSource{
        name, format_of(DType::F32), {1}, [](const ByteSink& sink) { sink(std::vector<std::byte>(4)); }};
  };
  int checks = 0;
  const auto check = [&](const Checkpoint&) { ++checks; };
  EXPECT_THROW(writer.add_layer({tensor("x"), tensor("odd")}, check), FileError);
  EXPECT_EQ(writer.tensors().size(), 3u);
  EXPECT_FALSE(writer.has_layers());
  writer.add_layer({tensor("x"), tensor("y")}, check);
  EXPECT_EQ(writer.tensors().size(), 5u);
  EXPECT_TRUE(writer.has_layers());
  const TemporaryFolder folder;
  writer.write_folder(folder.path());
  EXPECT_EQ(checks, 1);
}

TEST(CheckpointWriter, WhereNothingCanBeWritten) {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  EXPECT_THROW(writer_of_three().write_folder(folder / "file"), FileError);
  EXPECT_THROW(writer_of_three().write_folder(folder / "missing/model"), FileError);
  EXPECT_THROW(writer_of_three().write_gguf(folder / "missing/model.gguf"), FileError);
  EXPECT_THROW(CheckpointWriter().write_gguf(folder.path()), FileError);
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_EQ(folder.files(), 1);
}

#if defined(__unix__) || defined(__APPLE__)
/// As on a full disk: files may not grow beyond a limit.
TEST(CheckpointWriter, AFullDiskLeavesTheOldFiles) {
  const TemporaryFolder folder;
  writer_of_three().write_folder(folder.path());
  const std::string old = read_file(folder / "model.safetensors");
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    CheckpointWriter writer = writer_of_three();
    add(writer, "large", DType::U8, {5000});
    const bool folder_fails = !message_of<FileError>([&] { writer.write_folder(folder.path()); }).empty();
    const bool gguf_fails = !message_of<FileError>([&] { writer.write_gguf(folder / "model.gguf"); }).empty();
    _exit(folder_fails && gguf_fails ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(folder / "model.safetensors"), old);
  EXPECT_EQ(folder.files(), 2);
}

#endif

#if defined(__linux__)
/// The descriptors of temporary files that are open.
std::vector<int> open_files() {
  std::vector<int> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    if (std::filesystem::read_symlink(entry.path(), ignored).filename().string().starts_with(".moe-"))
      all.push_back(std::stoi(entry.path().filename().string()));
  }
  return all;
}

/// A disk may tell only when a file is flushed that it could not be written: no other file may be replaced by then.
TEST(CheckpointWriter, AFileThatCannotBeFlushedLeavesAllOldFiles) {
  const TemporaryFolder folder;
  writer_of_three().write_folder(folder.path(), {.shard_size = 1});
  const auto names = {"config.json", "model.safetensors.index.json", "model-00001-of-00003.safetensors",
                      "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"};
  std::vector<std::string> old;
  for (const char* name : names) old.push_back(read_file(folder / name));
  for (const std::uint64_t after : {6u, 22u, 27u}) {  // the last byte of each shard
    CheckpointWriter writer;
    writer.configuration = {{"model_type", "other"}};
    for (const auto& [name, size] : {std::pair{"odd", 6u}, {"wide", 16u}, {"bytes", 5u}})
      add(writer, name, DType::U8, {size});
    std::size_t most = 0;
    const std::string message = message_of<FileError>([&] {
      writer.write_folder(folder.path(), {.shard_size = 1, .progress = [&](std::uint64_t done, std::uint64_t) {
                                            const auto open = open_files();
                                            most = (std::max)(most, open.size());
                                            if (done == after)
                                              for (const int file : open) ::close(file);
                                          }});
    });
    EXPECT_NE(message.find("cannot write"), std::string::npos) << message;
    EXPECT_EQ(folder.files(), 5);
    std::size_t i = 0;
    for (const char* name : names) EXPECT_EQ(read_file(folder / name), old[i++]) << name;
  }
}

/// Tensors that are only passed on need no memory: 64 MB by a process that may have little more than it has.
TEST(CheckpointWriter, StreamsWhatItWrites) {
  const TemporaryFolder folder;
  CheckpointWriter writer;
  const std::vector<std::byte> piece(1 << 16);
  for (int t = 0; t < 4; ++t)
    writer.add({"w" + std::to_string(t), format_of(DType::U8), {1 << 24}, [&](const ByteSink& sink) {
                  for (int i = 0; i < 256; ++i) sink(piece);
                }});
  const auto most = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // in KiB
  };
  const auto before = most();
  writer.write_folder(folder.path());
  EXPECT_LT(most() - before, 16 * 1024);
  EXPECT_EQ(Checkpoint::open(folder.path()).bytes("w3").size(), std::size_t{1} << 24);
}
#endif

}  // namespace checkpoint_writer_test
