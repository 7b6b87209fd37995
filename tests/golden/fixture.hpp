// Files of inputs, results and gradients that others computed (data/README.md), and the comparison with them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "moe/core.hpp"
#include "moe/io/safetensors.hpp"

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

/// max |a - b| / max(1, max |b|), b the reference; infinite if a has an entry that is no number.
inline double error(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, scale = 1;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i])) return HUGE_VAL;
    difference = (std::max)(difference, std::abs(a[i] - b[i]));
    scale = (std::max)(scale, std::abs(b[i]));
  }
  return difference / scale;
}

inline std::string format(double error) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", error);
  return text;
}

/// The worst error of every fixture, printed when all tests have run.
class Report : public ::testing::Environment {
 public:
  struct Worst {
    double error = 0;
    std::string tensor = "-";
    int compared = 0;
  };
  std::map<std::string, Worst> worst_of;

  void add(const std::string& fixture, const std::string& tensor, double error) {
    Worst& worst = worst_of[fixture];
    ++worst.compared;
    if (error >= worst.error) worst.error = error, worst.tensor = tensor;
  }

  void TearDown() override {
    std::printf("%-32s %8s %10s  %s\n", "fixture", "compared", "worst", "in");
    for (const auto& [fixture, worst] : worst_of)
      std::printf("%-32s %8d %10s  %s\n", fixture.c_str(), worst.compared, format(worst.error).c_str(),
                  worst.tensor.c_str());
  }
};

inline Report* const report = static_cast<Report*>(::testing::AddGlobalTestEnvironment(new Report));

/// One file. What it holds is read or compared by name; `finish` fails if something was left out.
class Fixture {
 public:
  nlohmann::json hyper;                    ///< The system's settings.
  std::optional<std::uint64_t> step = {};  ///< Set: of every tensor, only this part along its first axis is meant.

  explicit Fixture(const std::string& name)
      : name_(name),
        file_(moe::io::Safetensors::open(std::string(MOE_SOURCE_DIR) + "/tests/golden/data/" + name + ".safetensors")),
        left_(file_.names().begin(), file_.names().end()) {
    hyper = nlohmann::json::parse(file_.metadata().at("hyper"));
  }

  bool contains(const std::string& tensor) const { return file_.contains(tensor); }
  Index size(const char* letter) const { return hyper.at(letter).get<Index>(); }

  /// A tensor, or its part at the given leading indices, of rank 2, 1 (as a column) or 0.
  template <class S>
  Matrix<S> matrix(const std::string& tensor, std::vector<std::uint64_t> at = {}) {
    const auto [shape, values] = part<S>(tensor, std::move(at));
    moe::detail::require(shape.size() <= 2, name_, ": ", tensor, " has rank ", shape.size());
    return Eigen::Map<const Matrix<S>>(values.data(), shape.empty() ? 1 : static_cast<Index>(shape[0]),
                                       shape.size() < 2 ? 1 : static_cast<Index>(shape[1]));
  }

  template <class S>
  std::vector<S> values(const std::string& tensor) {
    return part<S>(tensor, {}).second;
  }

  /// Integers must be equal; floating point within 1e-10, or 2e-5 where the file is in single precision.
  void expect(const std::string& tensor, const std::vector<double>& computed) {
    using moe::io::DType;
    const DType type = file_.tensor(tensor).dtype;
    const bool floating = type == DType::F64 || type == DType::F32;
    const auto reference = values<double>(tensor);
    ASSERT_EQ(computed.size(), reference.size()) << name_ << ": " << tensor;
    if (!floating) {
      EXPECT_EQ(computed, reference) << name_ << ": " << tensor;
      return;
    }
    const double difference = error(computed, reference);
    EXPECT_LE(difference, type == DType::F64 ? 1e-10 : 2e-5) << name_ << ": " << tensor;
    report->add(name_, tensor, difference);
  }

  /// Compares what the file has of the computed values.
  void expect(const Values& computed) {
    for (const auto& [tensor, values] : computed)
      if (contains(tensor)) expect(tensor, values);
  }

  /// "slot", and those of the named tensors that the file has.
  std::set<std::string> left_but(const std::set<std::string>& names) const {
    std::set<std::string> left{"slot"};
    for (const std::string& name : names)
      if (contains(name)) left.insert(name);
    return left;
  }

  /// Every tensor was used, but for those that the library has no counterpart of.
  void finish(const std::set<std::string>& without_counterpart = {}) const {
    EXPECT_EQ(left_, without_counterpart) << name_;
    ::testing::Test::RecordProperty("worst_error_of_" + name_, format(report->worst_of[name_].error));
  }

 private:
  template <class S>
  std::pair<std::vector<std::uint64_t>, std::vector<S>> part(const std::string& tensor, std::vector<std::uint64_t> at) {
    left_.erase(tensor);
    if (step) at.insert(at.begin(), *step);
    auto shape = file_.tensor(tensor).shape;
    auto values = file_.values<S>(tensor);
    for (const std::uint64_t index : at) {
      moe::detail::require(!shape.empty() && index < shape[0], name_, ": ", tensor, " has no part ", index);
      shape.erase(shape.begin());
      const std::size_t count =
          std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<std::size_t>());
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(index * count);
      values = std::vector<S>(begin, begin + static_cast<std::ptrdiff_t>(count));
    }
    return {shape, values};
  }

  std::string name_;
  moe::io::Safetensors file_;
  std::set<std::string> left_;
};

}  // namespace golden
