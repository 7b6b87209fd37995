#include "moe/io/safetensors_header.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "temporary_folder.hpp"

namespace safetensors_header_test {

using moe::detail::parse_header;
using moe::io::FileError;

TEST(SafetensorsHeader, NamesStandInTheOrderOfTheirBytes) {
  const auto header = parse_header("file",
                                   R"( {"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"k":"v"},)"
                                   R"("a":{"dtype":"U8","shape":[2],"data_offsets":[4,6],"unknown":[{"x":1}]}})",
                                   6);
  EXPECT_EQ(header.names, (std::vector<std::string>{"b", "a"}));
  EXPECT_EQ(header.metadata.at("k"), "v");
  EXPECT_EQ(header.tensors.at("a").shape, std::vector<std::uint64_t>{2});
}

/// The message for the header of one tensor 'w'.
std::string error(const std::string& entry, std::uint64_t data_bytes = 4) {
  return message_of<FileError>([&] { parse_header("file", "{\"w\":" + entry + "}", data_bytes); });
}

TEST(SafetensorsHeader, TheDataIsCoveredExactly) {
  const auto offsets = [](const std::string& both, std::uint64_t data_bytes) {
    return error(R"({"dtype":"F32","shape":[1],"data_offsets":[)" + both + "]}", data_bytes);
  };
  EXPECT_EQ(offsets("0,4", 4), "");
  EXPECT_NE(offsets("4,8", 8).find("leaves a hole"), std::string::npos);
  EXPECT_NE(offsets("0,4", 3).find("beyond the end of the file"), std::string::npos);
  EXPECT_NE(offsets("4,0", 8).find("ends before it begins"), std::string::npos);
  EXPECT_NE(offsets("0,8", 8).find("does not fit dtype and shape"), std::string::npos);
  EXPECT_NE(offsets("0,4", 9).find("5 bytes after the last tensor"), std::string::npos);
}

TEST(SafetensorsHeader, WhatIsNoHeaderIsRefused) {
  const auto text_error = [](const std::string& text) {
    return message_of<FileError>([&] { parse_header("file", text, 0); });
  };
  EXPECT_NE(text_error("[]").find("does not begin with '{'"), std::string::npos);
  EXPECT_NE(text_error("{").find("not valid JSON"), std::string::npos);
  EXPECT_NE(text_error(std::string("{}\0", 3)).find("NUL byte"), std::string::npos);
}

}  // namespace safetensors_header_test
