// Every link of every document leads somewhere.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <regex>
#include <set>
#include <string>

#include "readme/document.hpp"

namespace moe::links_test {

using readme::Document;

/// The anchor that GitHub gives a heading: lower case, without punctuation, a hyphen for a blank.
std::string anchor_of(const std::string& heading) {
  std::string anchor;
  for (const char letter : heading) {
    const auto code = static_cast<unsigned char>(letter);
    if (letter == ' ' || letter == '-')
      anchor += '-';
    else if (std::isalnum(code) || letter == '_' || code >= 128)
      anchor += static_cast<char>(std::tolower(code));
  }
  return anchor;
}

std::set<std::string> anchors(const Document& document) {
  static const std::regex heading{R"(^#{1,6} +(.+?) *$)"};
  std::set<std::string> found;
  for (const std::string& line : readme::prose(document))
    if (std::smatch match; std::regex_match(line, match, heading)) found.insert(anchor_of(match[1]));
  return found;
}

/// What is wrong with the link; nothing if it leads somewhere.
std::string complaint(const Document& document, const std::string& target) {
  static const std::regex external{R"(^(https?://[A-Za-z0-9.-]+\.[a-z]+(/\S*)?|mailto:\S+@\S+)$)"};
  if (target.find(':') != target.npos) return std::regex_match(target, external) ? "" : "is no address";
  const auto hash = target.find('#');
  const std::string path = target.substr(0, hash), anchor = hash == target.npos ? "" : target.substr(hash + 1);
  const auto file = (readme::root() / document.name).parent_path() / path;
  if (!std::filesystem::exists(file)) return "leads to no file";
  if (hash == target.npos) return "";
  const std::string name =
      path.empty() ? document.name : file.lexically_normal().lexically_relative(readme::root()).generic_string();
  if (!name.ends_with(".md")) return "has an anchor in what is no document";
  return anchors(readme::document(name)).contains(anchor) ? "" : "leads to no heading of " + name;
}

/// All text outside blocks and code spans, as one line: a link may go on in the next line.
std::string text_with_links(const Document& document) {
  static const std::regex code{R"(`[^`]*`)"};
  std::string text;
  for (const std::string& line : readme::prose(document)) text += std::regex_replace(line, code, "") + ' ';
  return text;
}

TEST(Links, LeadSomewhere) {
  static const std::regex link{R"(\]\(([^)\s]*)\))"};
  int count = 0;
  for (const Document& document : readme::documents()) {
    const std::string text = text_with_links(document);
    for (std::sregex_iterator match{text.begin(), text.end(), link}, end; match != end; ++match, ++count) {
      const std::string target = (*match)[1], wrong = complaint(document, target);
      EXPECT_EQ(wrong, "") << document.name << ": " << target << ' ' << wrong;
    }
  }
  EXPECT_GT(count, 10);
}

TEST(Links, WrongOnesAreSeen) {
  const Document& readme = readme::document("README.md");
  EXPECT_EQ(complaint(readme, "examples/nothing.svg"), "leads to no file");
  EXPECT_EQ(complaint(readme, "#nothing"), "leads to no heading of README.md");
  EXPECT_EQ(complaint(readme, "LICENSE#mit"), "has an anchor in what is no document");
  EXPECT_EQ(complaint(readme, "http:/broken"), "is no address");
  EXPECT_EQ(complaint(readme, "https://arxiv.org/abs/1701.06538"), "");
  EXPECT_EQ(complaint(readme, "examples/data/README.md#digits8x8csv"), "");
}

}  // namespace moe::links_test
