// Whoever reads a header finds its tests at the same place below tests/, and the other way round.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "hygiene/headers.hpp"

namespace moe {
namespace mirror_test {

// Of a folder's headers together, not of one.
const std::set<std::string> of_a_folder{
    "expert/dropped_units",  "gating/readme",          "io/every_expert",
    "io/every_state",        "io/foreign_names",       "io/resume",
    "io/safetensors_corpus", "objective/one_contract", "surgery/readme",
};

const std::set<std::string> only_include_others{"core/core"};

std::filesystem::path tests() { return std::filesystem::path{MOE_SOURCE_DIR} / "tests"; }

std::string without(std::string text, const std::string& end) { return text.erase(text.size() - end.size()); }

/// Headers without their extension: "gating/top_k".
std::set<std::string> names_of_headers() {
  std::set<std::string> names;
  for (const auto& header : hygiene::headers()) names.insert(without(header.name, ".hpp"));
  return names;
}

TEST(Mirror, EveryHeaderHasATestOfItsName) {
  for (const std::string& name : names_of_headers()) {
    const bool exists = std::filesystem::exists(tests() / (name + "_test.cpp"));
    EXPECT_NE(exists, only_include_others.contains(name)) << "tests/" << name << "_test.cpp";
  }
}

TEST(Mirror, EveryTestInAFolderOfHeadersHasAHeader) {
  const std::set<std::string> names = names_of_headers();
  std::set<std::string> folders, found;
  for (const std::string& name : names)
    if (name.find('/') != std::string::npos) folders.insert(name.substr(0, name.find('/')));
  for (const std::string& folder : folders) {
    ASSERT_TRUE(std::filesystem::exists(tests() / folder)) << "tests/" << folder;
    for (const auto& entry : std::filesystem::directory_iterator{tests() / folder}) {
      const std::string file = entry.path().filename().string();
      if (!file.ends_with("_test.cpp")) continue;
      const std::string name = folder + "/" + without(file, "_test.cpp");
      found.insert(name);
      EXPECT_NE(names.contains(name), of_a_folder.contains(name)) << "tests/" << name << "_test.cpp";
    }
  }
  for (const std::string& name : of_a_folder) EXPECT_TRUE(found.contains(name)) << name << ": take it off the list";
}

TEST(Mirror, NoHeaderIsLong) {
  std::vector<std::size_t> lengths;
  for (const auto& header : hygiene::headers()) {
    lengths.push_back(header.lines.size());
    EXPECT_LE(lengths.back(), 300u) << header.name;
  }
  std::ranges::sort(lengths);
  EXPECT_LE(lengths[lengths.size() / 2], 130u) << "median";
}

TEST(Mirror, BesideTheUmbrellaAndTheContractThereAreFoldersOnly) {
  std::set<std::string> loose;
  for (const auto& header : hygiene::headers())
    if (header.name.find('/') == std::string::npos) loose.insert(header.name);
  EXPECT_EQ(loose, (std::set<std::string>{"moe.hpp", "concepts.hpp"}));
}

/// Two headers of one name would mean different things: `#include "moe/<folder>/<name>.hpp"` is read by its last word.
TEST(Mirror, NoTwoHeadersHaveOneName) {
  std::set<std::string> files;
  for (const auto& header : hygiene::headers()) {
    const std::string file = std::filesystem::path{header.name}.filename().string();
    EXPECT_TRUE(files.insert(file).second) << header.name;
  }
}

/// What stands in kernel/ is for the library itself: each name is in moe::detail.
TEST(Mirror, KernelsAreNotPublic) {
  for (const auto& header : hygiene::headers()) {
    if (!header.name.starts_with("kernel/")) continue;
    bool inside = false;
    for (const std::string& line : header.lines) {
      if (line.starts_with("namespace detail")) inside = true;
      if (line.starts_with("}  // namespace detail")) inside = false;
      const bool declares = line.starts_with("struct ") || line.starts_with("class ") ||
                            line.starts_with("template ") || line.starts_with("using ") || line.starts_with("inline ");
      EXPECT_TRUE(inside || !declares) << header.name << ": " << line;
    }
  }
}

}  // namespace mirror_test
}  // namespace moe
