#include "moe/io/file_error.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "temporary_folder.hpp"

namespace file_error_test {

TEST(FileError, IsARuntimeErrorWhoseMessageIsJoined) {
  const std::string message =
      message_of<std::runtime_error>([] { moe::detail::fail_io("file", ": value ", 3, " of ", 2.5); });
  EXPECT_EQ(message, "moe::io: file: value 3 of 2.5");
  EXPECT_THROW(moe::detail::fail_io("x"), moe::io::FileError);
}

TEST(FileError, HostileNamesAreMaskedAndCut) {
  EXPECT_EQ(moe::detail::in_quotes("w1"), "'w1'");
  EXPECT_EQ(moe::detail::in_quotes("a\x1b[31m\x7f\n"),
            "'a?[31m?"
            "?'");
  EXPECT_EQ(moe::detail::in_quotes(std::string(200, 'x')), "'" + std::string(120, 'x') + "...'");
}

}  // namespace file_error_test
