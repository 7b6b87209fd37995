#include "moe/io/gguf_encoding.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "block_fixture.hpp"
#include "gguf_bytes.hpp"
#include "moe/io/checkpoint.hpp"
#include "temporary_folder.hpp"

namespace gguf_encoding_test {

using moe::io::FileError;
using moe::io::GgufKey;
using moe::io::GgufType;
using moe::io::TensorSource;

const moe::io::TensorFormat f32 = moe::io::format_of(moe::io::DType::F32);

TEST(GgufEncoding, HasTheBytesOfTheFormat) {
  gguf::File expected = gguf::small();
  expected.data.clear();
  EXPECT_EQ(
      moe::detail::gguf_header_bytes("file", {{.name = "general.architecture", .type = GgufType::text, .value = "toy"}},
                                     {TensorSource{"w", f32, {2, 3}, {}}}),
      expected.bytes());
}

/// The keys of files that another program made, of all types of values.
TEST(GgufEncoding, KeysComeBack) {
  for (const char* name : {"gguf/ok_all_value_types.gguf", "gguf_models/gpt_oss_mxfp4.gguf"}) {
    const auto keys = moe::io::Checkpoint::open(fixture(name)).gguf_keys();
    const TemporaryFolder folder;
    write_file(folder / "file.gguf", moe::detail::gguf_header_bytes("file", keys, {}));
    const auto copy = moe::io::Checkpoint::open(folder / "file.gguf");
    ASSERT_EQ(copy.gguf_keys().size(), keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      EXPECT_EQ(copy.gguf_keys()[i].name, keys[i].name);
      EXPECT_EQ(copy.gguf_keys()[i].type, keys[i].type);
      EXPECT_EQ(copy.gguf_keys()[i].item_type, keys[i].item_type);
      EXPECT_EQ(copy.gguf_keys()[i].value, keys[i].value);
    }
  }
}

TEST(GgufEncoding, RefusesWhatGgmlRefuses) {
  const auto error = [](const std::vector<GgufKey>& keys, const TensorSource& tensor = {"w", f32, {1}, {}}) {
    return message_of<FileError>([&] { moe::detail::gguf_header_bytes("file", keys, {tensor}); });
  };
  const auto expect = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  EXPECT_EQ(error({}), "");
  const GgufKey a{.name = "a", .value = 1};
  expect(error({a, a}), "key 'a' is given twice");
  expect(error({{.name = "a", .value = 256}}), "setting 'a' is '256', not an integer in range");
  expect(error({{.name = "a", .type = GgufType::text, .value = 1}}), "not a text");
  expect(error({{.name = "a", .type = GgufType::array, .value = 1}}), "is no array");
  expect(error({{.name = "a", .type = GgufType::array, .item_type = GgufType::array, .value = {1}}}),
         "an array of arrays");
  expect(error({{.name = "a", .type = static_cast<GgufType>(13), .value = 1}}), "the unknown type 13");
  expect(error({{.name = "", .value = 1}}), "is no name of a key");
  for (const int alignment : {0, 3, -1})
    expect(error({{.name = "general.alignment", .type = GgufType::u32, .value = alignment}}), "");
  expect(error({{.name = "general.alignment", .type = GgufType::u32, .value = 24u}}), "not a power of two");
  expect(error({}, {std::string(64, 'n'), f32, {1}, {}}), "longer than 63");
  expect(error({}, {"w", f32, {1, 1, 1, 1, 1}, {}}), "more than 4 dimensions");
  expect(error({}, {"w", moe::io::format_of(moe::io::DType::F8_E4M3), {1}, {}}), "GGUF has no type F8_E4M3");
}

}  // namespace gguf_encoding_test
