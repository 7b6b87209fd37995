// Ten vowels by men, women and children (Peterson and Barney 1952): who speaks is the label for the gate.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../support/csv.hpp"
#include "moe/core/core.hpp"

namespace regimes {

using moe::Index;
using Matrix = moe::Matrix<double>;

inline constexpr std::array<std::string_view, 10> vowels{"iy", "ih", "eh", "ae", "ah", "aa", "ao", "uh", "uw", "er"};
inline constexpr std::array<std::string_view, 3> groups{"m", "w", "c"};
inline constexpr Index features = 3;

struct Set {
  Matrix x_TD;                      ///< Pitch and two formants: logarithms, mean 0 and variance 1 in training.
  std::vector<Index> vowel, group;  ///< T

  Index tokens() const { return x_TD.rows(); }

  /// The rows of one group.
  Set of_group(Index wanted) const {
    Set set;
    std::vector<Index> rows;
    for (Index t = 0; t < tokens(); ++t)
      if (group[static_cast<std::size_t>(t)] == wanted) {
        rows.push_back(t);
        set.vowel.push_back(vowel[static_cast<std::size_t>(t)]);
        set.group.push_back(wanted);
      }
    set.x_TD = x_TD(rows, Eigen::seqN(0, x_TD.cols()));
    return set;
  }
};

struct Data {
  Set train, test;
};

template <std::size_t count>
Index place(const std::array<std::string_view, count>& list, std::string_view text) {
  for (std::size_t i = 0; i < count; ++i)
    if (list[i] == text) return static_cast<Index>(i);
  throw std::runtime_error("unknown: " + std::string(text));
}

/// Every third speaker is for the test.
inline Data read_data(const std::string& path) {
  const example::CsvTable table(path);
  Data data;
  std::array<std::vector<std::size_t>, 2> rows;
  for (std::size_t row = 0; row < table.rows(); ++row)
    rows.at(std::lround(table.number(row, "speaker")) % 3 == 0 ? 1 : 0).push_back(row);
  for (std::size_t part = 0; part < 2; ++part) {
    Set& set = part == 0 ? data.train : data.test;
    set.x_TD.resize(static_cast<Index>(rows.at(part).size()), features);
    for (std::size_t t = 0; t < rows.at(part).size(); ++t) {
      const std::size_t row = rows.at(part)[t];
      for (Index f = 0; f < features; ++f)
        set.x_TD(static_cast<Index>(t), f) = std::log(table.number(row, "F" + std::to_string(f)));
      set.vowel.push_back(place(vowels, table.text(row, "vowel")));
      set.group.push_back(place(groups, table.text(row, "type")));
    }
  }
  const Eigen::RowVectorXd mean = data.train.x_TD.colwise().mean();
  const Eigen::RowVectorXd deviation =
      ((data.train.x_TD.rowwise() - mean).array().square().colwise().mean()).sqrt().matrix();
  for (Set* set : {&data.train, &data.test})
    set->x_TD = ((set->x_TD.rowwise() - mean).array().rowwise() / deviation.array()).matrix();
  return data;
}

}  // namespace regimes
