// The lines of a summary: a part's own matrices, and a line for each part that it names.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

/// What a model is made of, and its totals. Print it.
struct Summary {
  std::string text;                     ///< A line for each part; neighbours that look alike on one.
  Index parameters = 0, bytes = 0;      ///< What is trained.
  Index buffers = 0, buffer_bytes = 0;  ///< What is saved and not trained: numbers, and their bytes.

  friend std::ostream& operator<<(std::ostream& out, const Summary& summary) { return out << summary.text; }
};

namespace detail {

/// The lines of a part; those after the first begin with `indent`. Adds what it holds to the totals.
template <class Part>
std::string lines_of(const Part& part, const std::string& indent, Summary& totals);

/// Visits a part: what it names itself is written behind its title, its own parts are lines.
class PartLines {
 public:
  explicit PartLines(std::string indent) : indent_(std::move(indent)) {}

  /// A matrix or vector: "weight 3 x 4", "bias 3"; what is empty is left out.
  template <class Parameter>
  void operator()(std::string_view name, const Parameter& parameter) {
    totals.parameters += parameter.size();
    totals.bytes += parameter.size() * static_cast<Index>(sizeof(*parameter.data()));
    if (parameter.size() == 0) return;
    own += joined(", ", name, " ", Index{parameter.rows()});
    if (parameter.cols() != 1) own += joined(" x ", Index{parameter.cols()});
  }

  /// What visit_part calls.
  template <class Part>
  void part(std::string_view name, const Part& part) {
    const std::size_t dot = name.rfind('.');
    const bool is_listed = dot != std::string_view::npos && name.find_first_not_of("0123456789", dot + 1) == name.npos;
    entries_.push_back(
        {std::string(is_listed ? name.substr(0, dot) : name), is_listed, lines_of(part, indent_ + "  ", totals)});
  }

  /// One entry for neighbours in a list that look alike, and at most eight entries of a list.
  std::string lines() const {
    std::string text;
    for (std::size_t begin = 0, end = 0; begin < entries_.size(); begin = end) {
      const auto is_of_list = [&](std::size_t i) {
        return i < entries_.size() && entries_[i].is_listed && entries_[i].name == entries_[begin].name;
      };
      for (end = begin + 1; entries_[begin].is_listed && is_of_list(end);) ++end;
      int written = 0;
      for (std::size_t first = begin, next = begin; first < end; first = next) {
        if (++written > 8) {
          text += indent_ + joined("and ", end - first, " more ", entries_[begin].name, "\n");
          break;
        }
        for (next = first + 1; next < end && entries_[next].lines == entries_[first].lines;) ++next;
        text += indent_ + entries_[first].name;
        if (next > first + 1)
          text += joined(" ", first - begin, " to ", next - 1 - begin, ", each");
        else if (entries_[first].is_listed)
          text += joined(" ", first - begin);
        text += ' ' + entries_[first].lines;
      }
    }
    return text;
  }

  std::string own;
  Summary totals;

 private:
  struct Entry {
    std::string name;
    bool is_listed;
    std::string lines;
  };

  std::string indent_;
  std::vector<Entry> entries_;
};

}  // namespace detail

MOE_NAMESPACE_END
