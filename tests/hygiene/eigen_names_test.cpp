// The tree compiles with Eigen 3.4 and with Eigen 5: no name stands in it that one of them does not have, or warns of.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

namespace {

struct Rule {
  std::regex name;
  std::string reason;
};

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all{
      {std::regex{R"(\bEigen::(all|last|lastp1|placeholders)\b)"},
       "Eigen 5 has Eigen::placeholders::all alone, of which 3.4 warns; Eigen::seqN(0, m.cols()) is in both"},
      {std::regex{R"(\bEIGEN_(CORE|ALLANDANY|SPARSECORE)_H\b)"},
       "Eigen 5 calls its include guards otherwise, and a question for the old ones is never true; ask for "
       "EIGEN_WORLD_VERSION"},
      {std::regex{R"(\bEIGEN_HAS_(CXX1[14]\w*|ALIGNAS|CONSTEXPR|RVALUE_REFERENCES|VARIADIC_TEMPLATES|TYPE_TRAITS)\b)"},
       "Eigen 5 asks for C++14 and no longer says what a compiler has"},
      {std::regex{R"(\bEIGEN_(NOEXCEPT|NOEXCEPT_IF|NO_THROW|EXCEPTION_SPEC|IMPLIES|LOGICAL_XOR)\b)"},
       "not in Eigen 5, which writes the words of C++14"},
      {std::regex{R"(\bEIGEN_(GNUC_AT\w*|SIZE_M(IN|AX)\w*|PLAIN_ENUM_M(IN|AX))\b)"}, "not in Eigen 5"},
      {std::regex{R"([<"](unsupported/)?Eigen/(CXX11/)?src/)"},
       "Eigen 5 refuses to have its inner headers included; include Eigen/Core"},
  };
  return all;
}

/// What the two versions do not share in these lines, each with its reason.
std::vector<std::string> faults(const std::vector<std::string>& lines) {
  std::vector<std::string> found;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find("Eigen") == std::string::npos && lines[i].find("EIGEN_") == std::string::npos) continue;
    for (const Rule& rule : rules())
      if (std::smatch match; std::regex_search(lines[i], match, rule.name))
        found.push_back("line " + std::to_string(i + 1) + ": " + match.str() + ": " + rule.reason);
  }
  return found;
}

TEST(EigenNames, AllAreInBothVersions) {
  const std::filesystem::path root{MOE_SOURCE_DIR};
  int files = 0;
  for (const char* folder : {"include", "tests", "examples", "benchmarks"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator{root / folder}) {
      const std::string name = entry.path().filename().string();
      if ((entry.path().extension() != ".hpp" && entry.path().extension() != ".cpp") || name == "eigen_names_test.cpp")
        continue;
      std::ifstream stream{entry.path()};
      std::vector<std::string> lines;
      for (std::string line; std::getline(stream, line);) lines.push_back(line);
      for (const std::string& fault : faults(lines)) ADD_FAILURE() << entry.path().string() << ", " << fault;
      ++files;
    }
  EXPECT_GT(files, 200);
}

TEST(EigenNames, OthersAreSeen) {
  for (const char* line :
       {"m(rows, Eigen::all)", "m(Eigen::last)", "m(Eigen::placeholders::all, 0)", "using Eigen::placeholders;",
        "#ifdef EIGEN_CORE_H", "#if EIGEN_HAS_CXX11_MATH", "void f() EIGEN_NOEXCEPT;", "#if EIGEN_GNUC_AT_LEAST(9, 1)",
        "#include <Eigen/src/Core/Matrix.h>", "#include <unsupported/Eigen/CXX11/src/ThreadPool/RunQueue.h>"})
    EXPECT_EQ(faults({line}).size(), 1u) << line;
  for (const char* line :
       {"Eigen::seqN(0, m.cols())", "detail::all(S(1))", "#include <Eigen/Core>", "EIGEN_ALWAYS_INLINE void f();",
        "#include <unsupported/Eigen/CXX11/ThreadPool>", "Eigen::internal::pselect(a, b, c)"})
    EXPECT_TRUE(faults({line}).empty()) << line;
}

}  // namespace
