#include "moe/io/json_file.hpp"

#include <gtest/gtest.h>

#include <string>

#include "temporary_folder.hpp"

namespace json_file_test {

using moe::io::FileError;

nlohmann::json read(const std::string& text) {
  const TemporaryFolder folder;
  return moe::detail::read_json_file(write_file(folder / "config.json", text));
}

TEST(JsonFile, IsAnObject) {
  EXPECT_EQ(read(R"({"a": [1, {"b": 2}], "b": {"a": "x"}})").at("a")[1].at("b"), 2);
  for (const char* other : {"[]", "1", "null", "\"{}\""})
    EXPECT_NE(message_of<FileError>([&] { read(other); }).find("config.json: not a JSON object"), std::string::npos);
  for (const char* broken : {"", "{", "{} {}", "{\"a\": 1,}", "{'a': 1}", "\xff"})
    EXPECT_NE(message_of<FileError>([&] { read(broken); }).find("config.json: not valid JSON"), std::string::npos)
        << broken;
}

TEST(JsonFile, KeysAreGivenOnceInEachObject) {
  EXPECT_EQ(read(R"({"a": {"b": 1}, "c": [{"b": 1}, {"b": 2}], "b": 3})").size(), 3u);
  for (const char* text :
       {R"({"a": 1, "a": 1})", R"({"x": {"a": 1, "b": 2, "a": 3}})", R"({"x": [[{"a": 1, "a": {}}]]})"})
    EXPECT_NE(message_of<FileError>([&] { read(text); }).find("key 'a' is given twice"), std::string::npos) << text;
}

TEST(JsonFile, DepthIsBounded) {
  const auto nested = [](std::size_t depth) {
    return "{\"a\": " + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_EQ(read(nested(60)).size(), 1u);
  EXPECT_NE(message_of<FileError>([&] { read(nested(100'000)); }).find("nested more than 64 deep"), std::string::npos);
}

TEST(JsonFile, NumbersThatOnlyPythonWritesAreNull) {
  const auto json = read(R"({"a": [0.0, Infinity], "b": -Infinity, "c": NaN, "d": "NaN \" Infinity \\", "e": -1})");
  EXPECT_EQ(json,
            nlohmann::json::parse(R"({"a": [0.0, null], "b": null, "c": null, "d": "NaN \" Infinity \\", "e": -1})"));
  EXPECT_EQ(moe::detail::without_non_finite("\"\\"), "\"\\");
}

}  // namespace json_file_test
