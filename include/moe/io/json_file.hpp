// A JSON file, read strictly: config.json and the index of shards.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/io/input_file.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Python writes NaN, Infinity and -Infinity, which JSON does not have, also into config.json: the text with null for
/// each of them that is not within a string.
inline std::string without_non_finite(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  bool in_string = false;
  while (!text.empty()) {
    std::size_t count = in_string && text.front() == '\\' ? 2 : 1;
    if (text.front() == '"') in_string = !in_string;
    bool replaced = false;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"})
      if (!in_string && !replaced && text.starts_with(word)) {
        result += "null";
        count = word.size();
        replaced = true;
      }
    if (!replaced) result += text.substr(0, count);
    text.remove_prefix((std::min)(count, text.size()));
  }
  return result;
}

/// The object that the file holds. Throws io::FileError if it is anything else, if a key is given twice in any object,
/// or if it is nested more than 64 deep.
inline nlohmann::json read_json_file(const std::filesystem::path& path) {
  constexpr std::uint64_t longest = 100'000'000;
  constexpr int deepest = 64;
  const InputFile file(path);
  if (file.size() > longest) fail_io(file.name(), ": ", file.size(), " bytes of JSON are more than ", longest);
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  std::vector<std::set<std::string>> keys;  // of the objects that are open, by depth
  const auto check = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    if (depth > deepest) fail_io(file.name(), ": the JSON is nested more than ", deepest, " deep");
    const auto level = static_cast<std::size_t>(depth);
    if (event == nlohmann::json::parse_event_t::object_start) {
      keys.resize((std::max)(keys.size(), level + 2));
      keys[level + 1].clear();
    }
    if (event == nlohmann::json::parse_event_t::key && !keys[level].insert(value.get<std::string>()).second)
      fail_io(file.name(), ": key ", in_quotes(value.get<std::string>()), " is given twice");
    return true;
  };
  nlohmann::json json = nlohmann::json::parse(without_non_finite(text), check, /*allow_exceptions=*/false);
  if (json.is_discarded()) fail_io(file.name(), ": not valid JSON");
  if (!json.is_object()) fail_io(file.name(), ": not a JSON object");
  return json;
}

}  // namespace detail

MOE_NAMESPACE_END
