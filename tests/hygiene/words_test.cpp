// One word for one thing in the headers: words that have meant several things stay out.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

#include "hygiene/headers.hpp"

namespace moe {
namespace words_test {

struct Word {
  std::regex pattern;  ///< Of one line.
  std::string instead;
};

/// Made once: a pattern is matched against every line.
const std::vector<Word>& avoided() {
  static const std::vector<Word> words{
      {std::regex{R"(\b[Rr]ooms?\b)"}, "capacity, space, memory, scratch or buffer"},
      {std::regex{R"(\bask(s|ed|ing)? for (the|its|what|every|a) \w* ?(panel|row|line|byte|cache))"}, "prefetch"},
      {std::regex{R"(\b(Of of|Over over)\b)"}, "a noun"},
      {std::regex{R"(\b(struct|class|concept) (Of|Over|At|By|With|Into)\b)"}, "a noun"},
      {std::regex{R"(\bhand(s|ed|ing)?_?[ _]down)"}, "what is told to whom"},
      {std::regex{R"(\b\w+_(is|of_of)\b\s*=\s*[A-Z])"}, "a noun"},
  };
  return words;
}

std::vector<std::string> words_found(const std::string& line) {
  std::vector<std::string> found;
  for (const Word& word : avoided())
    if (std::smatch match; std::regex_search(line, match, word.pattern))
      found.push_back("'" + match[0].str() + "': say " + word.instead);
  return found;
}

TEST(Words, HeadersSayOneThingByOneWord) {
  for (const auto& header : hygiene::headers())
    for (std::size_t i = 0; i < header.lines.size(); ++i)
      for (const std::string& found : words_found(header.lines[i]))
        ADD_FAILURE() << header.name << ":" << i + 1 << " " << found;
}

TEST(Words, AreFound) {
  EXPECT_EQ(words_found("  Index* room = nullptr;").size(), 1u);
  EXPECT_EQ(words_found("struct Over {").size(), 1u);
  EXPECT_EQ(words_found("  Of of = {};").size(), 1u);
  EXPECT_TRUE(words_found("the capacity of an expert").empty());
}

}  // namespace words_test
}  // namespace moe
