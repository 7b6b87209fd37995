// The public headers as text: what the tests of this folder read.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <regex>
#include <string>
#include <vector>

namespace moe::hygiene {

struct Header {
  std::string name;                   ///< As in `#include "moe/<name>"`.
  std::vector<std::string> lines;     ///< Without their line ends.
  std::vector<std::string> includes;  ///< Names of the headers of this library that it includes.
};

inline Header read_header(const std::filesystem::path& root, const std::filesystem::path& file) {
  static const std::regex include{R"(^\s*#\s*include\s*["<]moe/([^">]+)[">].*)"};
  Header header{.name = file.lexically_relative(root).generic_string(), .lines = {}, .includes = {}};
  std::ifstream stream{file};
  for (std::string line; std::getline(stream, line);) {
    if (std::smatch match; std::regex_match(line, match, include)) header.includes.push_back(match[1]);
    header.lines.push_back(line);
  }
  return header;
}

/// All headers below include/moe, by name.
inline const std::vector<Header>& headers() {
  static const std::vector<Header> all = [] {
    const std::filesystem::path root = std::filesystem::path{MOE_SOURCE_DIR} / "include" / "moe";
    std::vector<Header> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator{root}) {
      if (entry.path().extension() == ".hpp") found.push_back(read_header(root, entry.path()));
    }
    std::ranges::sort(found, {}, &Header::name);
    return found;
  }();
  return all;
}

inline std::optional<Header> find(const std::string& name) {
  const auto found = std::ranges::find(headers(), name, &Header::name);
  return found == headers().end() ? std::nullopt : std::optional{*found};
}

}  // namespace moe::hygiene
