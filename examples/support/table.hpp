// Tables for a terminal, the first column flush left and the others flush right, and for a file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <iomanip>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "plain.hpp"

namespace example {

/// A number with that many digits after the point.
inline std::string fixed(double value, int digits = 0) {
  std::ostringstream text = plain(std::ostringstream());
  text << std::fixed << std::setprecision(digits) << value;
  return text.str();
}

/// Rows may be of different lengths. Cells are ASCII: a byte is taken for a column.
class Table {
 public:
  explicit Table(std::vector<std::string> head) : rows_{std::move(head)} {}

  const std::vector<std::string>& head() const { return rows_.front(); }

  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  friend std::ostream& operator<<(std::ostream& out, const Table& table) {
    std::vector<std::size_t> widths;
    for (const auto& row : table.rows_)
      for (std::size_t i = 0; i < row.size(); ++i) {
        if (i == widths.size()) widths.push_back(0);
        widths[i] = (std::max)(widths[i], row[i].size());
      }
    for (std::size_t r = 0; r < table.rows_.size(); ++r) {
      std::string line;
      for (std::size_t i = 0; i < table.rows_[r].size(); ++i) {
        const std::string& cell = table.rows_[r][i];
        const std::string padding(widths[i] - cell.size(), ' ');
        line += i == 0 ? cell + padding : "  " + padding + cell;
      }
      line.erase(line.find_last_not_of(' ') + 1);
      out << line << '\n';
      if (r == 0) out << rule(widths) << '\n';
    }
    return out;
  }

  /// Comma-separated values, as RFC 4180 quotes them. Throws std::runtime_error if the file cannot be written.
  void save_csv(const std::string& path) const {
    std::ofstream file(path);
    for (const auto& row : rows_)
      for (std::size_t i = 0; i < row.size(); ++i) file << quoted(row[i]) << (i + 1 < row.size() ? ',' : '\n');
    file.close();
    if (!file) throw std::runtime_error("cannot write " + path);
  }

 private:
  static std::string quoted(const std::string& cell) {
    if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
    std::string text = "\"";
    for (const char c : cell) text.append(c == '"' ? 2 : 1, c);
    return text + '"';
  }

  static std::string rule(const std::vector<std::size_t>& widths) {
    std::size_t width = 2 * (widths.size() - 1);
    for (const std::size_t column : widths) width += column;
    return std::string(width, '-');
  }

  std::vector<std::vector<std::string>> rows_;
};

}  // namespace example
