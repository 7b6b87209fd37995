#include "moe/io/stored_weight.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "moe/core/executor.hpp"

namespace stored_weight_test {

using moe::Index;
using moe::Matrix;
using moe::io::StoredWeight;

/// (rows, cols) of 0, 1, 2, ...
StoredWeight counting(std::uint64_t rows, std::uint64_t cols) {
  std::vector<std::byte> bytes(rows * cols * sizeof(float));
  for (std::uint64_t i = 0; i < rows * cols; ++i) {
    const auto value = static_cast<float>(i);
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  moe::io::CheckpointTensor tensor;
  tensor.name = "w";
  tensor.format = moe::io::format_of(moe::io::DType::F32);
  tensor.shape = {rows, cols};
  StoredWeight weight;
  weight.tensor = std::make_shared<const moe::io::StoredTensor>("file", tensor, moe::io::MappedBytes(std::move(bytes)));
  return weight;
}

/// The same numbers in panels, row by row and in double, whatever the order of the parts.
template <class Expected>
void expect(const StoredWeight& weight, const Expected& number) {
  moe::Weights<float> panels;
  Matrix<float> plain;
  moe::detail::WeightReading<float> reading;
  reading.add(weight, panels);
  reading.add(weight, plain);
  EXPECT_EQ(reading.weights(), 2);
  EXPECT_TRUE(reading.has(weight));
  reading.run(moe::DefaultExecutor{}, moe::io::Precision::exact);
  ASSERT_EQ(plain.rows(), weight.outputs);
  ASSERT_EQ(plain.cols(), weight.inputs);
  EXPECT_EQ(panels.matrix(), plain);
  for (Index i = 0; i < plain.rows(); ++i)
    for (Index j = 0; j < plain.cols(); ++j) ASSERT_EQ(plain(i, j), static_cast<float>(number(i, j)));
  const auto vector = weight.vector<double>();
  for (Index i = 0; i < vector.size(); ++i) ASSERT_EQ(vector(i), plain.data()[i]);
}

TEST(StoredWeight, OutputsAreRowsOrColumnsOfAll) {
  StoredWeight weight = counting(3 * 37, 21);  // three of (37, 21)
  weight.outputs = 37, weight.inputs = 21, weight.first_row = 37;
  expect(weight, [](Index i, Index j) { return (37 + i) * 21 + j; });
  weight.outputs = 21, weight.inputs = 37, weight.inputs_first = true;
  expect(weight, [](Index i, Index j) { return (37 + j) * 21 + i; });
}

TEST(StoredWeight, OutputsAreHalfOfThem) {
  StoredWeight weight = counting(2 * 40, 23);  // two of (40, 23)
  weight.outputs = 20, weight.inputs = 23, weight.first_row = 40, weight.first_output = 20;
  expect(weight, [](Index i, Index j) { return (40 + 20 + i) * 23 + j; });
  weight.first_output = 1, weight.output_step = 2;
  expect(weight, [](Index i, Index j) { return (40 + 1 + 2 * i) * 23 + j; });
  weight = counting(2 * 23, 40);
  weight.outputs = 20, weight.inputs = 23, weight.first_row = 23, weight.inputs_first = true, weight.first_output = 20;
  expect(weight, [](Index i, Index j) { return (23 + j) * 40 + 20 + i; });
  weight.first_output = 1, weight.output_step = 2;
  expect(weight, [](Index i, Index j) { return (23 + j) * 40 + 1 + 2 * i; });
}

TEST(StoredWeight, TellsWhetherItHoldsNumbers) {
  StoredWeight weight = counting(2 * 41, 42);
  weight.outputs = 41, weight.inputs = 42, weight.first_row = 41;
  for (const bool inputs_first : {false, true}) {
    weight.inputs_first = inputs_first;
    if (inputs_first) std::swap(weight.outputs, weight.inputs);
    Matrix<double> numbers = weight.matrix<double>();
    EXPECT_TRUE(weight.holds<double>(numbers));
    EXPECT_TRUE(weight.holds<float>(numbers));
    EXPECT_FALSE(weight.holds<float>(numbers.transpose()));
    for (const Index i : {Index{0}, numbers.rows() / 2, numbers.rows() - 1})
      for (const Index j : {Index{0}, numbers.cols() - 1}) {
        Matrix<double> other = numbers;
        other(i, j) += 0.5;
        EXPECT_FALSE(weight.holds<double>(other)) << i << ' ' << j;
        other(i, j) = std::nan("");
        EXPECT_FALSE(weight.holds<double>(other));
      }
  }
}

/// What lies in double is compared as float, as a layer in float reads it; a NaN is like another.
TEST(StoredWeight, HoldsRoundedNumbersAndNaN) {
  const std::vector<double> values{1.0 / 3, std::nan(""), 2};
  std::vector<std::byte> bytes(values.size() * sizeof(double));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  moe::io::CheckpointTensor tensor;
  tensor.name = "w";
  tensor.format = moe::io::format_of(moe::io::DType::F64);
  tensor.shape = {1, 3};
  StoredWeight weight;
  weight.tensor = std::make_shared<const moe::io::StoredTensor>("file", tensor, moe::io::MappedBytes(std::move(bytes)));
  weight.outputs = 1, weight.inputs = 3;
  Matrix<double> numbers(1, 3);
  numbers << values[0], values[1], values[2];
  EXPECT_TRUE(weight.holds<double>(numbers));
  EXPECT_FALSE(weight.holds<float>(numbers));
  numbers(0, 0) = static_cast<double>(static_cast<float>(values[0]));
  EXPECT_TRUE(weight.holds<float>(numbers));
  EXPECT_FALSE(weight.holds<double>(numbers));
}

TEST(StoredWeight, VectorsAreOfOneInput) {
  StoredWeight weight = counting(3, 34);
  weight.outputs = 17, weight.inputs = 1, weight.first_row = 2, weight.inputs_first = true;
  weight.first_output = 1, weight.output_step = 2;
  moe::Vector<double> bias = moe::Vector<double>::Ones(2), none = bias;
  moe::detail::WeightReading<double> reading;
  reading.add(&weight, bias);
  reading.add(nullptr, none);
  reading.run(moe::Serial{}, moe::io::Precision::exact);
  ASSERT_EQ(bias.size(), 17);
  for (Index i = 0; i < 17; ++i) EXPECT_EQ(bias(i), 2 * 34 + 1 + 2 * static_cast<double>(i));
  EXPECT_EQ(none.size(), 0);
}

}  // namespace stored_weight_test
