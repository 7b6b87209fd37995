#include "moe/io/safetensors_text.hpp"

#include <gtest/gtest.h>

#include <string>

#include "temporary_folder.hpp"

namespace safetensors_text_test {

using moe::detail::safetensors_text;
using moe::io::DType;
using moe::io::FileError;
using moe::io::TensorInfo;

TEST(SafetensorsText, IsPaddedJson) {
  EXPECT_EQ(safetensors_text("file", {}, {}), "{}      ");
  const std::string text =
      safetensors_text("file", {{"b", {DType::F32, {2}}}, {"a", {DType::U8, {3, 1}}}}, {{"k", "v"}});
  EXPECT_EQ(text.size() % 8, 0u);
  EXPECT_EQ(text.substr(0, text.find_last_not_of(' ') + 1),
            R"({"__metadata__":{"k":"v"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
            R"("a":{"dtype":"U8","shape":[3,1],"data_offsets":[8,11]}})");
}

TEST(SafetensorsText, RefusesWhatCannotBeReadBack) {
  const auto error = [](const std::string& name) {
    return message_of<FileError>([&] { safetensors_text("file", {{name, TensorInfo{DType::F32, {1}}}}, {}); });
  };
  EXPECT_EQ(error("w"), "");
  EXPECT_NE(error("__metadata__").find("must not be named"), std::string::npos);
  EXPECT_NE(error("\xff").find("not valid UTF-8"), std::string::npos);
  EXPECT_NE(error("../w").find("'..' component"), std::string::npos);
  EXPECT_NE(message_of<FileError>([] {
              safetensors_text("file", {}, {{"k", "\xff"}});
            }).find("metadata"),
            std::string::npos);
}

}  // namespace safetensors_text_test
