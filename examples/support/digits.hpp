// Handwritten digits of 8 x 8 pixels (data/README.md), in two parts: to learn from and to be tested on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "csv.hpp"
#include "moe/core/core.hpp"
#include "moe/core/random.hpp"

namespace example {

struct Digits {
  moe::Matrix<float> x_TD;         ///< Pixels, 0 white ... 1 black, row by row.
  std::vector<moe::Index> labels;  ///< T

  moe::Index tokens() const { return x_TD.rows(); }
};

struct DigitsData {
  Digits train, test;
};

/// The `tested` first ones of an order drawn from the seed are for the test: the same ones on every machine. Throws
/// std::runtime_error if the file cannot be read or has no more than those.
inline DigitsData read_digits(const std::string& path, std::uint64_t seed, std::size_t tested = 500) {
  constexpr moe::Index pixels = 64;
  const CsvTable table(path);
  if (table.rows() <= tested) throw std::runtime_error(path + ": only " + std::to_string(table.rows()) + " digits");
  std::vector<std::size_t> order(table.rows());
  std::iota(order.begin(), order.end(), std::size_t{0});
  moe::Random random(seed);
  for (std::size_t i = order.size(); i > 1; --i)  // std::shuffle differs from one standard library to the next
    std::swap(order[i - 1], order[static_cast<std::size_t>(random.uniform() * static_cast<double>(i))]);

  DigitsData data;
  data.test.x_TD.resize(static_cast<moe::Index>(tested), pixels);
  data.train.x_TD.resize(static_cast<moe::Index>(order.size() - tested), pixels);
  for (std::size_t i = 0; i < order.size(); ++i) {
    Digits& part = i < tested ? data.test : data.train;
    const auto t = static_cast<moe::Index>(part.labels.size());
    part.labels.push_back(static_cast<moe::Index>(table.number(order[i], "label")));
    for (moe::Index p = 0; p < pixels; ++p)
      part.x_TD(t, p) = static_cast<float>(table.number(order[i], "p" + std::to_string(p)) / 16);
  }
  return data;
}

}  // namespace example
