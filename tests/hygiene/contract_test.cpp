// The page of the contract is whole: what the library looks for in a part of a user's is named in concepts.hpp.
#include <gtest/gtest.h>

#include <cctype>
#include <cstddef>
#include <map>
#include <regex>
#include <set>
#include <string>

#include "hygiene/headers.hpp"

namespace contract_test {

// Looked for, and no member of a part: each with what it is a member of.
const std::map<std::string, std::string> of_others{
    {"ColsAtCompileTime", "an Eigen matrix"},
    {"SizeAtCompileTime", "an Eigen matrix"},
    {"setZero", "an Eigen matrix"},
    {"IsRowMajor", "an Eigen matrix"},
    {"IsVectorAtCompileTime", "an Eigen matrix"},
    {"derived", "an Eigen matrix"},
    {"cols", "an Eigen matrix"},
    {"rows", "an Eigen matrix"},
    {"width_of_panel", "Weights"},
    {"panel", "Weights"},
    {"block", "a storage of weights in blocks"},
    {"bytes", "a storage of weights in blocks"},
    {"Blocks", "a storage of weights in blocks"},
    {"encode", "what a block is"},
    {"together", "what a block is"},
    {"data", "an Eigen matrix"},
    {"value", "a type trait, and an activation"},
    {"matrix", "Weights"},
    {"emplace", "a std::optional, the tape's random"},
    {"index", "a std::variant, that of VariantExpert"},
    {"visit", "VariantExpert and VariantGate"},
    {"at_hand", "the tape of a VariantExpert"},
    {"plan", "the tape of a layer"},
    {"routing", "the tape of a layer"},
    {"drouting", "the tape of a layer"},
    {"valid_tokens", "a Routing"},
    {"shared", "the tape of a Shared"},
    {"logits_TP", "the tape of a SoftLayer"},
    {"slot_PD", "a SoftLayer"},
    {"router", "a layer"},
    {"layer", "a Shared"},
    {"mix", "a Shared"},
    {"expert", "a Shared"},
};

/// The text of a header without comments, strings and line ends.
std::string code_of(const std::vector<std::string>& lines) {
  std::string code;
  for (const std::string& line : lines) code += line.substr(0, line.find("//")) + ' ';
  return std::regex_replace(code, std::regex{R"("[^"]*")"}, "\"\"");
}

/// Where the bracket at `begin` is closed; the end of the text if it is not.
std::size_t end_of_bracket(const std::string& code, std::size_t begin) {
  const char open = code[begin], close = open == '(' ? ')' : '}';
  int depth = 0;
  for (std::size_t i = begin; i < code.size(); ++i) {
    depth += code[i] == open ? 1 : code[i] == close ? -1 : 0;
    if (depth == 0) return i;
  }
  return code.size();
}

/// The members that the requires-expressions of this code look for: x.name, X::name. `requires (condition)` is none.
std::set<std::string> looked_for(const std::string& code) {
  static const std::regex keyword{R"(\brequires\b)"};
  static const std::regex member{R"((\.|(?:\b[A-Z]\w*|>)::)\s*(?:template\s+)?([A-Za-z]\w*))"};
  const auto skip_spaces = [&](std::size_t at) {
    while (at < code.size() && std::isspace(static_cast<unsigned char>(code[at]))) ++at;
    return at;
  };
  std::set<std::string> names;
  for (std::sregex_iterator it(code.begin(), code.end(), keyword), end; it != end; ++it) {
    if (it->position() > 0 && code[static_cast<std::size_t>(it->position()) - 1] == '!') continue;  // must not be there
    std::size_t at = skip_spaces(static_cast<std::size_t>(it->position()) + 8);
    if (at < code.size() && code[at] == '(') {
      const std::size_t close = end_of_bracket(code, at);
      const std::string inside = code.substr(at, close - at);
      if (inside.find("...") != std::string::npos) continue;
      at = skip_spaces(close + 1);
    }
    if (at >= code.size() || code[at] != '{') continue;
    const std::string body = code.substr(at, end_of_bracket(code, at) - at);
    for (std::sregex_iterator found(body.begin(), body.end(), member); found != end; ++found) names.insert((*found)[2]);
  }
  return names;
}

TEST(Contract, EveryMemberThatIsLookedForIsNamed) {
  const auto contract = moe::hygiene::find("concepts.hpp");
  ASSERT_TRUE(contract);
  std::string page;
  for (const std::string& line : contract->lines) page += line + '\n';
  std::set<std::string> all;
  for (const auto& header : moe::hygiene::headers())
    for (const std::string& name : looked_for(code_of(header.lines))) {
      all.insert(name);
      EXPECT_TRUE(of_others.contains(name) || std::regex_search(page, std::regex{"\\b" + name + "\\b"}))
          << header.name << " looks for a member `" << name << "`, which concepts.hpp does not name";
    }
  for (const char* known : {"most_choices", "rearrange_experts", "rows_of_block", "visit_buffers", "keep_activations"})
    EXPECT_TRUE(all.contains(known)) << known;
}

TEST(Contract, WhatIsLookedForIsSeen) {
  using Names = std::set<std::string>;
  EXPECT_EQ(looked_for("if constexpr (requires { gate.check(experts); }) gate.run();"), Names{"check"});
  EXPECT_EQ(looked_for("requires(typename X::Tape of) { of.random = of.random; }"), Names{"random"});
  EXPECT_EQ(looked_for("requires { Part::visit_parameters(f, part); }"), Names{"visit_parameters"});
  EXPECT_EQ(looked_for("requires { std::remove_const_t<Part>::visit_parameters(f); }"), Names{"visit_parameters"});
  EXPECT_EQ(looked_for("requires { std::is_same_v<int, int>; }"), Names{});
  EXPECT_EQ(looked_for("void f() const requires(Expert<Xs, S>&&...) { x.run(); }"), Names{});
  EXPECT_EQ(looked_for("void f() const requires(HasLoss<Xs> || ...) { x.run(); }"), Names{});
  EXPECT_EQ(looked_for("requires Expert<X> void f() { x.run(); }"), Names{});
  EXPECT_EQ(looked_for("static_assert(!requires { part.visit_parameter(); });"), Names{});
  EXPECT_EQ(looked_for("requires { form.template value<S>(chunk); }"), Names{"value"});
  EXPECT_EQ(looked_for(code_of({"requires {", "  x.a;  // x.b", "}"})), Names{"a"});
}

}  // namespace contract_test
