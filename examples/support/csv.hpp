// Comma-separated tables with a line of column names; no quoting.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "plain.hpp"

namespace example {

/// A whole file as text, one column after the other looked up by name.
class CsvTable {
 public:
  /// Throws std::runtime_error if the file cannot be read or a line has not as many cells as the first.
  explicit CsvTable(const std::string& path) : path_(path) {
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line)) throw std::runtime_error("cannot read " + path);
    names_ = split(line);
    while (std::getline(file, line)) {
      rows_.push_back(split(line));
      if (rows_.back().size() != names_.size())
        throw std::runtime_error(path + ": row " + std::to_string(rows_.size()) + " has " +
                                 std::to_string(rows_.back().size()) + " cells of " + std::to_string(names_.size()));
    }
  }

  std::size_t rows() const { return rows_.size(); }

  const std::string& text(std::size_t row, std::string_view column) const { return rows_.at(row)[index_of(column)]; }

  /// Throws std::runtime_error if the cell is not a number.
  double number(std::size_t row, std::string_view column) const {
    const std::string& cell = text(row, column);
    double value = 0;
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (error != std::errc() || end != cell.data() + cell.size())
      throw std::runtime_error(path_ + ": row " + std::to_string(row + 1) + ", " + std::string(column) + ": '" + cell +
                               "' is not a number");
    return value;
  }

 private:
  static std::vector<std::string> split(std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    std::vector<std::string> cells;
    for (std::size_t begin = 0; begin <= line.size();) {
      const std::size_t end = (std::min)(line.find(',', begin), line.size());
      cells.emplace_back(line.substr(begin, end - begin));
      begin = end + 1;
    }
    return cells;
  }

  std::size_t index_of(std::string_view column) const {
    const auto found = std::find(names_.begin(), names_.end(), column);
    if (found == names_.end()) throw std::runtime_error(path_ + ": no column '" + std::string(column) + "'");
    return static_cast<std::size_t>(found - names_.begin());
  }

  std::string path_;
  std::vector<std::string> names_;
  std::vector<std::vector<std::string>> rows_;
};

/// Writes one line a call.
class CsvWriter {
 public:
  /// Throws std::runtime_error if the file cannot be opened.
  explicit CsvWriter(const std::string& path) : path_(path), file_(plain(std::ofstream(path))) {
    if (!file_) throw std::runtime_error("cannot write " + path);
  }

  template <class First, class... Cells>
  void row(const First& first, const Cells&... cells) {
    file_ << first;
    ((file_ << ',' << cells), ...);
    file_ << '\n';
  }

  /// Throws std::runtime_error if anything could not be written.
  void close() {
    file_.close();
    if (!file_) throw std::runtime_error("cannot write " + path_);
  }

 private:
  std::string path_;
  std::ofstream file_;
};

}  // namespace example
