#include "moe/io/file_cursor.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "gguf_bytes.hpp"
#include "temporary_folder.hpp"

namespace file_cursor_test {

using moe::detail::FileCursor;
using moe::detail::InputFile;
using moe::io::FileError;

TEST(FileCursor, ReadsNumbersAndTextsOneAfterTheOther) {
  const TemporaryFolder folder;
  const std::string longer(100'000, 'x');  // than any buffer
  const InputFile file(write_file(folder / "file", gguf::u32(7) + gguf::text("abc") + gguf::text(longer) +
                                                       gguf::number(1.5f) + gguf::text("") + gguf::number('!')));
  FileCursor cursor(file);
  EXPECT_EQ(cursor.number<std::uint32_t>("a"), 7u);
  EXPECT_EQ(cursor.text("b"), "abc");
  EXPECT_EQ(cursor.position(), 15u);
  EXPECT_EQ(cursor.text("c"), longer);
  EXPECT_EQ(cursor.number<float>("d"), 1.5f);
  EXPECT_EQ(cursor.text("e"), "");
  EXPECT_EQ(cursor.left(), 1u);
  EXPECT_EQ(cursor.number<char>("f"), '!');
  EXPECT_EQ(cursor.left(), 0u);
}

TEST(FileCursor, NothingIsReadBeyondTheEnd) {
  const TemporaryFolder folder;
  const auto error = [&](const std::string& bytes, auto&& read) {
    const InputFile file(write_file(folder / "file", bytes));
    FileCursor cursor(file);
    return message_of<FileError>([&] { read(cursor); });
  };
  const auto text = [](FileCursor& cursor) { cursor.text("the name"); };
  EXPECT_NE(error(gguf::u64(1ull << 62) + "abc", text)
                .find("the name ends beyond the end of the file: 4611686018427387904 bytes at byte 8 of 11"),
            std::string::npos);
  EXPECT_NE(error(gguf::u64(~0ull), text).find("beyond"), std::string::npos);
  EXPECT_NE(error("1234567", text).find("beyond"), std::string::npos);
  EXPECT_NE(error("", [](FileCursor& cursor) { cursor.number<char>("it"); }).find("it ends beyond"), std::string::npos);
}

}  // namespace file_cursor_test
