// Files of inputs, results and gradients that others computed (data/README.md), and the comparison with them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"

namespace golden {

using moe::Index;
using moe::Matrix;
using moe::Vector;

/// Computed tensors, row-major, under the names that they have in a fixture.
using Values = std::map<std::string, std::vector<double>>;

/// The entries of a matrix or vector, row by row.
template <class Derived>
std::vector<double> flat(const Eigen::MatrixBase<Derived>& matrix) {
  const Matrix<double> copy = matrix.template cast<double>();
  return {copy.data(), copy.data() + copy.size()};
}

template <class Number>
std::vector<double> flat(const std::vector<Number>& numbers) {
  return {numbers.begin(), numbers.end()};
}

/// One file. What it holds is read or compared by name; `finish` fails if something was left out. Compiled once, in
/// fixture.cpp: the parsers behind it would be a fifth of every test's compilation.
class Fixture {
 public:
  std::optional<std::uint64_t> step = {};  ///< Set: of every tensor, only this part along its first axis is meant.

  explicit Fixture(const std::string& name);

  /// The system's settings.
  double number(const std::string& setting) const;
  bool flag(const std::string& setting) const;
  std::string text(const std::string& setting) const;
  Index size(const std::string& setting) const;

  bool contains(const std::string& tensor) const;

  /// A tensor, or its part at the given leading indices, of rank 2, 1 (as a column) or 0.
  template <class S>
  Matrix<S> matrix(const std::string& tensor, std::vector<std::uint64_t> at = {}) {
    const auto [shape, values] = part<S>(tensor, std::move(at));
    moe::require(shape.size() <= 2, name_, ": ", tensor, " has rank ", shape.size());
    return Eigen::Map<const Matrix<S>>(values.data(), shape.empty() ? 1 : static_cast<Index>(shape[0]),
                                       shape.size() < 2 ? 1 : static_cast<Index>(shape[1]));
  }

  template <class S>
  std::vector<S> values(const std::string& tensor) {
    return part<S>(tensor, {}).second;
  }

  /// Integers must be equal; floating point within 1e-10, or 2e-5 where the file is in single precision.
  void expect(const std::string& tensor, const std::vector<double>& computed);

  /// Compares what the file has of the computed values.
  void expect(const Values& computed);

  /// "slot", and those of the named tensors that the file has.
  std::set<std::string> left_but(const std::set<std::string>& names) const;

  /// Every tensor was used, but for those that the library has no counterpart of.
  void finish(const std::set<std::string>& without_counterpart = {}) const;

 private:
  /// Shape and entries; for float, double, std::uint8_t and std::int64_t.
  template <class S>
  std::pair<std::vector<std::uint64_t>, std::vector<S>> part(const std::string& tensor, std::vector<std::uint64_t> at);

  struct Content;

  std::string name_;
  std::shared_ptr<const Content> content_;
  std::set<std::string> left_;
};

}  // namespace golden
