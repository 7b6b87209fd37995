// What stands in namespace detail is for the library alone: no example and no program of a document names it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace public_names_test {

/// The lines of a file that are code: of a document those between ``` lines.
std::vector<std::string> code_of(std::istream& stream, bool is_document) {
  std::vector<std::string> code;
  bool in_block = !is_document;
  for (std::string line; std::getline(stream, line);) {
    if (is_document && line.find("```") != std::string::npos)
      in_block = !in_block;
    else if (in_block)
      code.push_back(line);
  }
  return code;
}

bool names_detail(const std::string& line) { return std::regex_search(line, std::regex{R"(\bdetail\s*::)"}); }

TEST(PublicNames, AreAllThatExamplesAndDocumentsUse) {
  namespace fs = std::filesystem;
  const fs::path root{MOE_SOURCE_DIR};
  std::vector<fs::path> files{root / "README.md"};
  for (const char* folder : {"include", "examples", "benchmarks", ".github"})
    for (const auto& entry : fs::recursive_directory_iterator{root / folder}) {
      const auto extension = entry.path().extension();
      const bool is_example = folder == std::string("examples") && (extension == ".cpp" || extension == ".hpp");
      if (is_example || extension == ".md") files.push_back(entry.path());
    }
  EXPECT_GT(files.size(), 40u);
  for (const fs::path& file : files) {
    std::ifstream stream{file};
    for (const std::string& line : code_of(stream, file.extension() == ".md"))
      EXPECT_FALSE(names_detail(line)) << file << ": " << line;
  }
}

TEST(PublicNames, OthersAreSeen) {
  EXPECT_TRUE(names_detail("const auto text = moe::detail::joined(1, 2);"));
  EXPECT_TRUE(names_detail("using namespace moe; detail::Chunk<S> x;"));
  EXPECT_FALSE(names_detail("moe::in_detail::f();  // in detail: nothing"));
  std::istringstream document("detail::a\n```cpp\ndetail::b\n```\ndetail::c\n");
  EXPECT_EQ(code_of(document, true), std::vector<std::string>{"detail::b"});
}

}  // namespace public_names_test
