// What every public header owes its reader and the code that includes it.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <string>
#include <vector>

#include "hygiene/headers.hpp"

namespace {

/// What is wrong with the text of a header called `name`, one sentence each.
std::vector<std::string> faults(const std::string& name, const std::vector<std::string>& lines) {
  static const std::regex define{R"(^\s*#\s*define\s+(\w+).*)"};
  static const std::regex relative{R"re(^\s*#\s*include\s*"(?!moe/).*)re"};
  static const std::regex using_namespace{R"(^using namespace\b.*)"};
  static const std::regex push{R"(^.*#?\s*[Pp]ragma.*\bpush\b.*)"};
  static const std::regex pop{R"(^.*#?\s*[Pp]ragma.*\bpop\b.*)"};
  std::vector<std::string> found;
  long open_pragmas = 0;
  for (const std::string& line : lines) {
    std::smatch match;
    const bool may_define =
        name == "core/version.hpp" ||
        ((name == "kernel/compiler.hpp" || name == "core/compiled.hpp") && line.find(" MOE_DETAIL_") < 10);
    if (std::regex_match(line, match, define) && !may_define) found.push_back("defines " + match[1].str());
    if (std::regex_match(line, relative)) found.push_back("includes by a path that does not begin with moe/");
    if (std::regex_match(line, using_namespace)) found.push_back("opens a namespace for its user");
    open_pragmas += std::regex_match(line, push) ? 1 : 0;
    open_pragmas -= std::regex_match(line, pop) ? 1 : 0;
  }
  if (lines.empty() || !lines.front().starts_with("// ")) found.push_back("does not open with its purpose");
  if (std::ranges::count(lines, "#pragma once") != 1) found.push_back("has no #pragma once");
  if (open_pragmas != 0) found.push_back("leaves a pragma pushed");
  return found;
}

TEST(Headers, KeepTheHouseRules) {
  ASSERT_FALSE(moe::hygiene::headers().empty());
  for (const auto& header : moe::hygiene::headers()) {
    for (const std::string& fault : faults(header.name, header.lines)) ADD_FAILURE() << header.name << " " << fault;
  }
}

TEST(Headers, VersionDefinesOnlyItsOwnNames) {
  const auto version = moe::hygiene::find("core/version.hpp");
  ASSERT_TRUE(version);
  for (const std::string& line : version->lines) {
    EXPECT_TRUE(!line.starts_with("#define") || line.starts_with("#define MOE_")) << line;
  }
}

TEST(Headers, FaultsAreSeen) {
  const auto of = [](std::vector<std::string> lines) { return faults("routing/plan.hpp", lines); };
  using Faults = std::vector<std::string>;
  EXPECT_EQ(of({"// Purpose.", "#pragma once"}), Faults{});
  EXPECT_EQ(of({"#pragma once"}), Faults{"does not open with its purpose"});
  EXPECT_EQ(of({"// Purpose."}), Faults{"has no #pragma once"});
  EXPECT_EQ(of({"// Purpose.", "#pragma once", "# define EIGEN_NO_MALLOC"}), Faults{"defines EIGEN_NO_MALLOC"});
  EXPECT_EQ(of({"// Purpose.", "#pragma once", "#define MOE_FAST 1"}), Faults{"defines MOE_FAST"});
  EXPECT_EQ(of({"// Purpose.", "#pragma once", "using namespace Eigen;"}), Faults{"opens a namespace for its user"});
  EXPECT_EQ(of({"// Purpose.", "#pragma once", "#include \"../core/core.hpp\""}),
            Faults{"includes by a path that does not begin with moe/"});
  EXPECT_EQ(of({"// Purpose.", "#pragma once", "#pragma GCC diagnostic push"}), Faults{"leaves a pragma pushed"});
}

}  // namespace
