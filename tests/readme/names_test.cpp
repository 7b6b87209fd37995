// What the documents name exists: headers, programs, targets and options of the command line.
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "readme/document.hpp"

namespace moe::names_test {

namespace fs = std::filesystem;
using readme::Document;

/// The text of all files below the folder with one of the extensions.
std::string text_below(std::string_view folder, const std::set<std::string>& extensions) {
  std::string text;
  for (const auto& entry : fs::recursive_directory_iterator{readme::root() / folder})
    if (extensions.contains(entry.path().extension().string())) text += readme::text_of(entry.path());
  return text;
}

/// What the pattern's first group matches in the text.
std::set<std::string> all_matches(const std::string& text, const std::string& pattern) {
  const std::regex regex{pattern};
  std::set<std::string> found;
  for (std::sregex_iterator match{text.begin(), text.end(), regex}, end; match != end; ++match)
    found.insert((*match)[1]);
  return found;
}

/// The document's lines, without the first column of tables that say what was and what is.
std::string text_of_today(const Document& document) {
  std::string text;
  bool tells_changes = false;
  for (const std::string& line : document.lines) {
    tells_changes = line.starts_with("| was |") || (tells_changes && line.starts_with('|'));
    text += (tells_changes ? line.substr((std::min)(line.find('|', 1), line.size())) : line) + '\n';
  }
  return text;
}

bool is_program(std::string_view folder, const std::string& name) {
  return fs::exists(readme::root() / folder / (name + ".cpp"));
}

TEST(Names, HeadersExist) {
  int count = 0;
  for (const Document& document : readme::documents())
    for (const std::string& header : all_matches(text_of_today(document), R"([`"<](moe/[a-z0-9_/]+\.hpp))")) {
      EXPECT_TRUE(fs::exists(readme::root() / "include" / header)) << document.name << ": " << header;
      ++count;
    }
  EXPECT_GT(count, 5);
}

TEST(Names, ProgramsAndTargetsExist) {
  std::set<std::string> targets{"all"};
  for (const char* file :
       {"CMakeLists.txt", "examples/CMakeLists.txt", "benchmarks/CMakeLists.txt", ".cmake/docs.cmake"})
    targets.merge(all_matches(readme::text_of(readme::root() / file), R"(add_custom_target\(([a-z_]+))"));
  for (const Document& document : readme::documents()) {
    const std::string text = text_of_today(document);
    for (const char* folder : {"examples", "benchmarks"})
      for (const std::string& program : all_matches(text, std::string("build/") + folder + "/([a-z_]+)"))
        EXPECT_TRUE(is_program(folder, program)) << document.name << ": " << program;
    for (const std::string& target : all_matches(text, "--target ([a-z_]+)"))
      EXPECT_TRUE(targets.contains(target) || is_program("examples", target) || is_program("benchmarks", target))
          << document.name << ": " << target;
  }
}

TEST(Names, OptionsExist) {
  const std::string examples = text_below("examples", {".cpp", ".hpp"}),
                    build = text_below(".cmake", {".cmake"}) + readme::text_of(readme::root() / "CMakeLists.txt") +
                            readme::text_of(readme::root() / "tests/CMakeLists.txt");
  for (const std::string& option :
       all_matches(text_of_today(readme::document("examples/README.md")), R"(`(--[a-z-]+))"))
    EXPECT_TRUE(option == "--help" || examples.find('"' + option + '"') != std::string::npos) << option;
  for (const Document& document : readme::documents())
    for (const std::string& option : all_matches(text_of_today(document), "-D(MOE_[A-Z_]+)="))
      EXPECT_NE(build.find(option), std::string::npos) << document.name << ": " << option;
}

TEST(Names, MutationOptionsExist) {
  const std::string program = readme::text_of(readme::root() / "tests/mutation/mutate.py");
  const std::string text = text_of_today(readme::document("tests/mutation/README.md"));
  for (const std::string& option : all_matches(text, "(--[a-z]+)"))
    EXPECT_NE(program.find(option), std::string::npos) << option;
}

// Who contributes tests as the README says.
TEST(Names, CommandsAreTheSame) {
  std::vector<std::string> commands;
  for (const readme::Block& block : readme::document("README.md").blocks)
    if (block.language == "sh") commands.push_back(block.code);
  ASSERT_GE(commands.size(), 2u);
  EXPECT_EQ(readme::document(".github/CONTRIBUTING.md").blocks.front().code, commands[1]);
}

// The README is read in a few minutes, and a glossary that is longer explains nothing.
TEST(Names, DocumentsStayShort) {
  EXPECT_LE(readme::document("README.md").lines.size(), 220u);
  const Document& document = readme::document("include/moe/README.md");
  std::set<std::string> words;
  bool in_glossary = false;
  for (const std::string& line : document.lines) {
    in_glossary = line == "| word | means |" || (in_glossary && line.starts_with('|'));
    if (!in_glossary || line.starts_with("|---") || line == "| word | means |") continue;
    const std::string word = line.substr(2, line.find(" |", 2) - 2);
    EXPECT_TRUE(words.insert(word).second) << word << " stands twice";
  }
  EXPECT_GE(words.size(), 20u);
  EXPECT_LE(words.size(), 40u);
}

}  // namespace moe::names_test
