// Files that the tests write, and what is in them.
#pragma once

#include <fstream>
#include <iterator>
#include <string>

#include "gtest/gtest.h"

namespace test {

inline std::string scratch_path(const std::string& name) { return testing::TempDir() + "moe_example_support_" + name; }

inline std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// What a picture's file would hold.
template <class Svg>
std::string saved(const Svg& svg, const std::string& name) {
  svg.save(scratch_path(name));
  return text_of(scratch_path(name));
}

inline int times(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace test
