#include "moe/io/mapped_bytes.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "moe/io/input_file.hpp"
#include "temporary_folder.hpp"

namespace mapped_bytes_test {

using moe::io::MappedBytes;

TEST(MappedBytes, MoveAndOutliveTheirFile) {
  const TemporaryFolder folder;
  auto file = std::make_unique<moe::detail::InputFile>(write_file(folder / "file", "abcdefgh"));
  MappedBytes first = file->map(2, 3);
  file.reset();
  std::filesystem::remove(folder / "file");
  MappedBytes second = std::move(first);
  EXPECT_EQ(second.size(), 3u);
  EXPECT_EQ(second.bytes()[0], std::byte{'c'});
  MappedBytes third;
  EXPECT_EQ(third.size(), 0u);
  third = std::move(second);
  EXPECT_EQ(third.bytes()[2], std::byte{'e'});
}

TEST(MappedBytes, HoldACopyWhereNothingIsMapped) {
  MappedBytes bytes(std::vector<std::byte>{std::byte{1}, std::byte{2}});
  MappedBytes moved = std::move(bytes);
  EXPECT_EQ(moved.size(), 2u);
  EXPECT_EQ(moved.bytes()[1], std::byte{2});
}

}  // namespace mapped_bytes_test
