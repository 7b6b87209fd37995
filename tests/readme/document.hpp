// The documents of this repository, the files *.md, as text and as blocks of code.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moe::readme {

struct Block {
  std::string language;  ///< What follows the three backticks.
  std::string code;
  int line = 0;         ///< The number of its first line in the document, from 1.
  bool hidden = false;  ///< `<!-- cpp ... -->`: code that readers need not see, and that the next block needs.
};

struct Document {
  std::string name;  ///< The path from the root of the repository.
  std::vector<std::string> lines;
  std::vector<Block> blocks;
  std::vector<int> lines_of_code;  ///< Numbers of all lines that belong to blocks, their fences too.
};

inline std::filesystem::path root() { return MOE_SOURCE_DIR; }

inline std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream{file};
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// Whether a block begins at the line, and which.
inline bool begins_block(std::string_view line, Block& block) {
  const std::string_view fence = "```", hidden = "<!-- ";
  block.hidden = line == "<!-- cpp";
  if (!block.hidden && !line.starts_with(fence)) return false;
  block.language = line.substr(block.hidden ? hidden.size() : fence.size());
  return true;
}

inline Document read_document(const std::filesystem::path& file) {
  Document document{
      .name = file.lexically_relative(root()).generic_string(), .lines = {}, .blocks = {}, .lines_of_code = {}};
  std::istringstream stream{text_of(file)};
  bool inside = false;
  int number = 0;
  Block block;
  for (std::string line; std::getline(stream, line);) {
    document.lines.push_back(line);
    ++number;
    if (!inside) {
      block = {};
      inside = begins_block(line, block);
      block.line = number + 1;
      if (inside) document.lines_of_code.push_back(number);
      continue;
    }
    document.lines_of_code.push_back(number);
    if (line == (block.hidden ? "-->" : "```")) {
      document.blocks.push_back(block);
      inside = false;
    } else {
      block.code += line + '\n';
    }
  }
  return document;
}

/// All documents, by name. Folders of builds are left out.
inline const std::vector<Document>& documents() {
  static const std::vector<Document> all = [] {
    namespace fs = std::filesystem;
    std::vector<Document> found;
    for (auto entry = fs::recursive_directory_iterator{root()}; entry != fs::recursive_directory_iterator{}; ++entry) {
      const std::string name = entry->path().filename().string();
      if (entry->is_directory() && (name == ".git" || name.starts_with("build"))) entry.disable_recursion_pending();
      if (entry->is_regular_file() && entry->path().extension() == ".md") found.push_back(read_document(entry->path()));
    }
    std::ranges::sort(found, {}, &Document::name);
    return found;
  }();
  return all;
}

inline const Document& document(std::string_view name) {
  const auto found = std::ranges::find(documents(), name, &Document::name);
  if (found == documents().end()) throw std::invalid_argument("there is no document " + std::string(name));
  return *found;
}

/// The lines outside blocks, with empty lines in place of the blocks'.
inline std::vector<std::string> prose(const Document& document) {
  std::vector<std::string> lines = document.lines;
  for (const int number : document.lines_of_code) lines[static_cast<std::size_t>(number - 1)].clear();
  return lines;
}

/// What stands between single backticks in a line.
inline std::vector<std::string> code_spans(std::string_view line) {
  std::vector<std::string> spans;
  for (auto open = line.find('`'); open != line.npos;) {
    const auto close = line.find('`', open + 1);
    if (close == line.npos) break;
    spans.emplace_back(line.substr(open + 1, close - open - 1));
    open = line.find('`', close + 1);
  }
  return spans;
}

}  // namespace moe::readme
