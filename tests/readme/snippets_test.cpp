// The code of the documents compiles. A `cpp` block is a program if it has a main, stands in a namespace of its
// document if it declares a type, a template or a function, and is the body of a function else; a hidden block, `<!--
// cpp ... -->`, stands before the next one. What blocks may use besides is in context.hpp. In tables, each piece of
// code in a column headed "in one line" is an expression, but for what begins with a dot, a colon or a brace, is a
// single name or has an ellipsis.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "readme/document.hpp"

namespace moe::snippets_test {

using readme::Block;
using readme::Document;

bool is_program(const Block& block) { return block.code.find("int main(") != std::string::npos; }

bool declares(const Block& block) {
  static const std::regex declaration{R"((^|\n)(struct|class|template|namespace|static_assert|void|extern|inline)\b)"};
  return std::regex_search(block.code, declaration);
}

/// The code without its #include lines, which are added to `includes`.
std::string without_includes(const std::string& code, std::set<std::string>& includes) {
  std::istringstream stream{code};
  std::string rest;
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("#include")) includes.insert(line);
    rest += line.starts_with("#include") ? "\n" : line + '\n';
  }
  return rest;
}

std::vector<std::string> cells_of(const std::string& row) {
  std::vector<std::string> cells;
  std::string cell;
  bool in_code = false;
  for (std::size_t i = 1; i < row.size(); ++i) {
    if (row[i] == '`') in_code = !in_code;
    if (row[i] == '|' && !in_code)
      cells.push_back(std::exchange(cell, {}));
    else
      cell += row[i];
  }
  return cells;
}

/// Statements of the document's tables, each with its line.
std::string lines_of_tables(const Document& document) {
  static const std::regex no_expression{R"(^[.:{].*|.*\.\.\..*|^[A-Za-z_0-9:/]+$)"};
  std::string statements;
  std::size_t column = 0;
  bool in_table = false;
  int number = 0;
  for (const std::string& line : readme::prose(document)) {
    ++number;
    if (!line.starts_with('|')) {
      in_table = false;
      continue;
    }
    const auto cells = cells_of(line);
    if (!in_table) {
      in_table = true;
      column = static_cast<std::size_t>(std::ranges::find(cells, " in one line ") - cells.begin());
    }
    if (column >= cells.size()) continue;
    for (const std::string& span : readme::code_spans(cells[column]))
      if (!std::regex_match(span, no_expression))
        statements += "#line " + std::to_string(number) + "\n  static_cast<void>(" + span + ");\n";
  }
  return statements;
}

/// The document's code as a namespace.
std::string as_namespace(const Document& document, int index, std::set<std::string>& includes) {
  std::ostringstream source;
  source << "namespace document_" << index << " {\nusing namespace readme;\n#line 1 \"" << document.name << "\"\n";
  std::string before;  // of hidden blocks
  for (const Block& block : document.blocks) {
    if (block.language != "cpp") continue;
    const std::string line = "#line " + std::to_string(block.line) + "\n", name = std::to_string(block.line);
    const std::string code = without_includes(block.code, includes);
    if (is_program(block))
      source << "namespace program_" << name << " {\n" << line << code << "}\n";
    else if (declares(block))
      source << line << code;
    else if (block.hidden)
      before += line + code;
    else
      source << "inline void block_" << name << "() {\nusing namespace moe;\n"
             << std::exchange(before, {}) << line << code << "}\n";
  }
  source << "inline void tables() {\nusing namespace moe;\n" << lines_of_tables(document) << "}\n}\n";
  return source.str();
}

/// A source in the folder of temporary files, which goes with this.
class TemporarySource {
 public:
  TemporarySource(const std::set<std::string>& includes, const std::string& code) {
    std::ofstream stream{path_ + ".cpp"};
    for (const std::string& include : includes) stream << include << '\n';
    stream << code;
  }
  TemporarySource(const TemporarySource&) = delete;
  ~TemporarySource() {
    std::filesystem::remove(path_ + ".cpp");
    std::filesystem::remove(program());
  }
  std::string source() const { return path_ + ".cpp"; }
  std::string program() const { return path_ + ".program"; }

 private:
  std::string path_ =
      std::filesystem::temp_directory_path() / ("moe_snippets_" + std::to_string(std::random_device{}()));
};

void expect_success(const std::string& command) { EXPECT_EQ(std::system(command.c_str()), 0) << command; }

TEST(Snippets, Compile) {
  std::set<std::string> includes{"#include \"readme/context.hpp\""};
  std::string code;
  int index = 0;
  for (const Document& document : readme::documents()) code += as_namespace(document, ++index, includes);
  const TemporarySource file{includes, code};
  expect_success(MOE_COMPILER " -fsyntax-only -I " + (readme::root() / "tests").string() + ' ' + file.source());
}

// The parts of one's own, whose programs fail if their gradients are wrong.
TEST(Snippets, ProgramsOfPartsRun) {
  std::set<std::string> includes;
  std::string code, calls;
  for (const Block& block : readme::document("include/moe/README.md").blocks) {
    if (!is_program(block)) continue;
    const std::string name = "program_" + std::to_string(block.line);
    code += "namespace " + name + " {\n" + without_includes(block.code, includes) + "}\n";
    calls += (calls.empty() ? "" : " + ") + name + "::main()";
  }
  const TemporarySource file{includes, code + "int main() { return " + calls + "; }\n"};
  expect_success(MOE_COMPILER " -w -pthread -o " + file.program() + ' ' + file.source() + " && " + file.program() +
                 " > /dev/null");
}

// What the first program of the README is, examples/ has too; likewise the training recipe.
TEST(Snippets, ProgramsAreExamples) {
  const auto has_program = [](const Document& document, const std::string& example) {
    const std::string text = readme::text_of(readme::root() / "examples" / example);
    return std::ranges::any_of(document.blocks, [&](const Block& block) { return block.code == text; });
  };
  EXPECT_TRUE(has_program(readme::document("README.md"), "quick_start.cpp"));
  EXPECT_TRUE(has_program(readme::document("examples/README.md"), "training_recipe.cpp"));
}

TEST(Snippets, NameNothingInternal) {
  for (const Document& document : readme::documents())
    for (const Block& block : document.blocks)
      EXPECT_EQ(block.code.find("detail::"), std::string::npos) << document.name << ':' << block.line;
}

}  // namespace moe::snippets_test
