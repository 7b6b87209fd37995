// The code of a document's tables, so that a test can say that it compiles and runs exactly this code.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace support {

inline std::string text_of_checkout(const std::string& path) {
  std::ifstream stream{std::string(MOE_SOURCE_DIR) + "/" + path};
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// Line breaks and spaces are the formatter's.
inline std::string without_spaces(std::string text) {
  std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
  return text;
}

/// What stands between backticks in the last cell of each row of each table.
inline std::vector<std::string> code_of_tables(const std::string& path) {
  std::istringstream stream{text_of_checkout(path)};
  std::vector<std::string> code;
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with('|') || line.size() < 3) continue;
    std::string cell, span;
    bool in_code = false;
    std::vector<std::string> spans;  // of the cell at hand
    for (std::size_t i = 1; i + 1 < line.size(); ++i) {
      if (line[i] == '`') {
        in_code = !in_code;
        if (!in_code) spans.push_back(span);
        span.clear();
      } else if (in_code) {
        span += line[i];
      } else if (line[i] == '|') {
        spans.clear();
      }
    }
    code.insert(code.end(), spans.begin(), spans.end());
  }
  return code;
}

/// Expects that the document's tables have just this code, in this order.
inline void expect_code_of_tables(const std::string& path, const std::vector<std::string>& tested) {
  const std::vector<std::string> written = code_of_tables(path);
  for (std::size_t i = 0; i < (std::max)(written.size(), tested.size()); ++i) {
    const std::string in_document = i < written.size() ? written[i] : "", in_test = i < tested.size() ? tested[i] : "";
    ASSERT_EQ(without_spaces(in_document), without_spaces(in_test)) << "piece of code " << i << " of " << path;
  }
}

}  // namespace support
