#include "moe/io/gguf_values.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "gguf_bytes.hpp"
#include "temporary_folder.hpp"

namespace gguf_values_test {

using moe::io::GgufKey;
using moe::io::GgufType;

GgufKey read(const std::string& bytes) {
  const TemporaryFolder folder;
  const moe::detail::InputFile file(write_file(folder / "file", bytes));
  moe::detail::FileCursor cursor(file);
  GgufKey key = moe::detail::read_gguf_key(file, cursor);
  EXPECT_EQ(cursor.left(), 0u);
  return key;
}

nlohmann::json value(std::uint32_t type, const std::string& bytes) { return read(gguf::key("k", type, bytes)).value; }

TEST(GgufValues, EveryTypeKeepsItsValue) {
  EXPECT_EQ(value(0, "\xff"), 255);
  EXPECT_EQ(value(1, "\xff"), -1);
  EXPECT_EQ(value(2, gguf::number<std::uint16_t>(65535)), 65535);
  EXPECT_EQ(value(3, gguf::number<std::int16_t>(-300)), -300);
  EXPECT_EQ(value(4, gguf::u32(4'000'000'000)), 4'000'000'000);
  EXPECT_EQ(value(5, gguf::number(-2'000'000'000)), -2'000'000'000);
  EXPECT_EQ(value(6, gguf::number(0.1f)), static_cast<double>(0.1f));
  EXPECT_EQ(value(7, "\1"), true);
  EXPECT_EQ(value(7, std::string(1, '\0')), false);
  EXPECT_EQ(value(8, gguf::text("a text")), "a text");
  EXPECT_EQ(value(10, gguf::u64(~0ull)), ~0ull);
  EXPECT_EQ(value(11, gguf::number<std::int64_t>(-5'000'000'000)), -5'000'000'000);
  EXPECT_EQ(value(12, gguf::number(0.1)), 0.1);
}

TEST(GgufValues, ArraysKeepTheirItemsAndType) {
  const GgufKey key = read(gguf::key("k", 9, gguf::u32(8) + gguf::u64(2) + gguf::text("a") + gguf::text("")));
  EXPECT_EQ(key.name, "k");
  EXPECT_EQ(key.type, GgufType::array);
  EXPECT_EQ(key.item_type, GgufType::text);
  EXPECT_EQ(key.value, (nlohmann::json{"a", ""}));
  EXPECT_EQ(value(9, gguf::u32(3) + gguf::u64(0)), nlohmann::json::array());
}

}  // namespace gguf_values_test
