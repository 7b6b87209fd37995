#include "moe/io/gguf_header.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "block_fixture.hpp"
#include "gguf_bytes.hpp"
#include "hostile_gguf.hpp"
#include "temporary_folder.hpp"

#ifdef __linux__
#include <sys/resource.h>
#include <unistd.h>
#endif

namespace gguf_header_test {

using moe::detail::GgufHeader;
using moe::detail::InputFile;
using moe::io::FileError;

/// Reads the header, and every byte that it says a tensor has.
GgufHeader read(const std::filesystem::path& path) {
  const InputFile file(path);
  GgufHeader header = moe::detail::read_gguf_header(file);
  for (const auto& tensor : header.tensors) {
    const auto mapped = file.map(tensor.begin, tensor.bytes);
    unsigned sum = 0;
    for (const std::byte byte : mapped.bytes()) sum += std::to_integer<unsigned>(byte);
    EXPECT_LE(sum, 255 * tensor.bytes);
  }
  return header;
}

std::string refusal(const std::filesystem::path& path) {
  return message_of<FileError>([&] { read(path); });
}

TEST(GgufHeader, TellsKeysAndTensors) {
  const TemporaryFolder folder;
  gguf::File file{
      .keys = {gguf::key("general.alignment", 4, gguf::u32(64)), gguf::key("toy.expert_count", 4, gguf::u32(900))},
      .tensors = {gguf::tensor("a", {64, 2, 3}, 8, 0), gguf::tensor("b", {}, 0, 448)},
      .data = std::string(452, 'x'),
      .alignment = 64};
  const GgufHeader header = read(write_file(folder / "file", file.bytes()));
  ASSERT_EQ(header.keys.size(), 2u);
  EXPECT_EQ(header.keys[1].name, "toy.expert_count");
  EXPECT_EQ(header.keys[1].value, 900);
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(to_string(header.tensors[0]), "Q8_0 [3, 2, 64]");
  EXPECT_EQ(header.tensors[0].bytes, 12u * 34);
  EXPECT_EQ(header.tensors[0].begin % 64, 0u);
  EXPECT_EQ(to_string(header.tensors[1]), "F32 []");
  EXPECT_EQ(header.tensors[1].begin, header.tensors[0].begin + 448);
}

TEST(GgufHeader, EachFileOfAnotherWriterGetsItsVerdict) {
  std::ifstream table(fixture("gguf/verdicts.tsv"));
  std::string line, name, verdict;
  std::getline(table, line);
  std::size_t count = 0;
  for (; std::getline(table, line); ++count) {
    std::istringstream(line) >> name >> verdict;
    EXPECT_EQ(refusal(fixture("gguf/" + name + ".gguf")).empty(), verdict == "ok") << name;
  }
  EXPECT_EQ(count, 15u);
}

TEST(GgufHeader, EachHostileFileGetsItsReason) {
  const TemporaryFolder folder;
  for (const auto& file : hostile::gguf_corpus()) {
    SCOPED_TRACE(file.name);
    const auto path = write_file(folder / "file", file.bytes);
    const std::string reason = refusal(path);
    if (file.reason.empty()) {
      EXPECT_EQ(reason, "");
      continue;
    }
    EXPECT_NE(reason.find(file.reason), std::string::npos) << reason;
    EXPECT_NE(reason.find(path.string()), std::string::npos) << reason;
    EXPECT_LT(reason.size(), 600u);
  }
}

TEST(GgufHeader, EveryTruncationIsRefused) {
  const TemporaryFolder folder;
  const std::string whole = gguf::small().bytes();
  for (std::size_t length = 0; length < whole.size() - 8; ++length)  // 8 bytes of padding
    EXPECT_NE(refusal(write_file(folder / "file", whole.substr(0, length))), "") << length;
}

TEST(GgufHeader, EveryBitFlipIsRefusedOrStaysWithinTheFile) {
  const TemporaryFolder folder;
  const std::string whole = gguf::small().bytes();
  std::size_t accepted = 0;
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    if (refusal(write_file(folder / "file", damaged)).empty()) ++accepted;
  }
  EXPECT_GE(accepted, 8u * 32);  // at least each flip in the data
  EXPECT_LT(accepted, 8 * whole.size() * 3 / 4);
}

#ifdef __linux__

// With 64 MiB more than the process already has, only a reader that allocates by a declared size fails otherwise.
[[noreturn]] void read_all_with_little_memory(const std::vector<std::pair<std::filesystem::path, bool>>& files) {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit limit{};
  limit.rlim_cur = limit.rlim_max = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) + (std::size_t{64} << 20);
  if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
  for (const auto& [path, is_good] : files) {
    try {
      read(path);
      if (!is_good) _exit(3);
    } catch (const FileError&) {
      if (is_good) _exit(4);
    }
  }
  _exit(0);
}

TEST(GgufHeader, DeclaredSizesAreNotAllocated) {
  const TemporaryFolder folder;
  std::vector<std::pair<std::filesystem::path, bool>> files;
  for (const auto& file : hostile::gguf_corpus())
    files.emplace_back(write_file(folder / std::to_string(files.size()), file.bytes), file.reason.empty());
  // A file of 1 TiB that is a hole: its tensor is listed, and is as large as it says.
  const gguf::File large{.keys = {}, .tensors = {gguf::tensor("w", {1ull << 20, 1ull << 18}, 0, 0)}};
  const auto hole = write_file(folder / "hole", large.bytes());
  std::filesystem::resize_file(hole, std::filesystem::file_size(hole) + (1ull << 40));
  EXPECT_EXIT(
      {
        const GgufHeader header = moe::detail::read_gguf_header(InputFile(hole));
        if (header.tensors[0].bytes != 1ull << 40) _exit(5);
        read_all_with_little_memory(files);
      },
      testing::ExitedWithCode(0), "");
}

#endif

}  // namespace gguf_header_test
