// What the tests of sums over many tokens share: tokens of a few kinds, the same numbers in float and in double, and
// how near the results must be.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/moe.hpp"

namespace moe::long_sums {

inline constexpr Index width = 4, hidden = 3, experts = 3;
inline constexpr Index kinds = 3;               // of tokens, which come in turn
inline constexpr Index many = kinds * 350'000;  // more than 2^20
inline constexpr Index fewer =
    kinds * 16 * 1'400;  // 67,200: the drift would be seen, too, and whole layers take a second
inline constexpr double bound = 1e-5;

/// Tensors by name, as they are in either scalar type.
struct Tensors {
  std::vector<std::pair<std::string, Matrix<double>>> all;

  template <class M>
  void add(std::string_view name, const M& values, double factor = 1) {
    Matrix<double> copy(values.rows(), values.cols());
    for (Index i = 0; i < values.size(); ++i) copy.data()[i] = factor * static_cast<double>(values.data()[i]);
    all.emplace_back(name, std::move(copy));
  }
  void add_value(std::string_view name, double value) { all.emplace_back(name, Matrix<double>::Constant(1, 1, value)); }
  template <class M>
  void add_parameters(const M& model) {
    for_each_parameter([&](std::string_view name, const auto& values) { add(name, values); }, model);
  }
};

/// By the largest entry of each tensor; `scale` times the expected ones are expected.
inline void expect_same(const std::string& what, const Tensors& actual, const Tensors& expected, double scale = 1) {
  ASSERT_EQ(actual.all.size(), expected.all.size()) << what;
  for (std::size_t i = 0; i < actual.all.size(); ++i) {
    const auto& [name, values] = actual.all[i];
    const Matrix<double> wanted = scale * expected.all[i].second;
    const double largest = wanted.cwiseAbs().maxCoeff(), error = (values - wanted).cwiseAbs().maxCoeff();
    EXPECT_LE(error, bound * largest) << what << " " << name << ": " << error / largest;  // 0: nothing was to add up
  }
}

/// The same numbers in both types: drawn in double, rounded to float.
template <class S>
Matrix<S> rows_of_kinds(Index rows, Index columns, std::uint64_t seed) {
  std::mt19937_64 generator{seed};
  const Matrix<float> few = random_matrix<float>(kinds, columns, generator);
  Matrix<S> all(rows, columns);
  for (Index i = 0; i < all.size(); ++i) all.data()[i] = static_cast<S>(few.data()[i % few.size()]);
  return all;
}

/// Every parameter drawn.
template <class Model>
Model drawn(Model model) {
  std::mt19937_64 generator{5};
  const auto draw = [&](std::string_view, auto& parameter) {
    for (Index i = 0; i < parameter.size(); ++i)
      parameter.data()[i] = static_cast<float>(0.5 * random_matrix<double>(1, 1, generator)(0));
  };
  for_each_parameter(draw, model);
  return model;
}

}  // namespace moe::long_sums
