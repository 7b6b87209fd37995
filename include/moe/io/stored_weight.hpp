// A weight matrix as it lies in a tensor of a checkpoint, by itself or among others, and its way into a layer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/weights.hpp"
#include "moe/io/large_pages.hpp"
#include "moe/io/stored_tensor.hpp"
#include "moe/kernel/packing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Where a matrix goes: the entries of a Matrix or Vector, row by row, or of Weights, in panels.
template <class S>
struct WeightPlace {
  S* data;
  Index rows, cols;
  bool in_panels;

  /// Entries (row, col), (row + 1, col), ... lie `step` apart; a panel's are together.
  S* column_of_rows(Index row, Index col) const {
    const Index first = row / panel_width * panel_width, width = (std::min)(panel_width, rows - first);
    return in_panels ? data + first * cols + col * width + (row - first) : data + row * cols + col;
  }
  Index step() const { return in_panels ? 1 : cols; }
};

}  // namespace detail

namespace io {

/// A matrix (outputs, inputs), of which output i is row `first_output + i * output_step` of those rows of the tensor
/// that begin with `first_row`; with `inputs_first` it is that column, and rows are inputs. A vector is a matrix of one
/// input, with inputs_first.
struct StoredWeight {
  std::shared_ptr<const StoredTensor> tensor;
  Index outputs = 0, inputs = 0;
  std::uint64_t first_row = 0;
  std::uint64_t first_output = 0, output_step = 1;
  bool inputs_first = false;

  /// The weight is read in so many parts, which may be read at the same time.
  Index parts() const { return ((inputs_first ? inputs : outputs) + panel_width - 1) / panel_width; }

  /// Part of all numbers, decoded into float or double as StoredTensor::decode does.
  template <class S>
  void read_part(Index part, const moe::detail::WeightPlace<S>& to, Precision precision) const;

  /// All numbers at once, of an expert or of the layer.
  template <class S>
  Matrix<S> matrix(Precision precision = Precision::exact) const {
    Matrix<S> values(outputs, inputs);
    for (Index part = 0; part < parts(); ++part) read_part<S>(part, {values.data(), outputs, inputs, false}, precision);
    return values;
  }

  /// The same of a vector.
  template <class S>
  Vector<S> vector(Precision precision = Precision::exact) const {
    const Matrix<S> values = matrix<S>(precision);
    return Eigen::Map<const Vector<S>>(values.data(), values.size());
  }

  /// Whether these are the numbers, rounded to S as Precision::rounded does; a NaN is like another. Part after part is
  /// read, to the first that differs.
  template <class S>
  bool holds(const Matrix<double>& numbers) const;
};

template <class S>
void StoredWeight::read_part(Index part, const moe::detail::WeightPlace<S>& to, Precision precision) const {
  const Index begin = part * panel_width, count = (std::min)(panel_width, (inputs_first ? inputs : outputs) - begin);
  const std::uint64_t cols = tensor->cols(), from = static_cast<std::uint64_t>(begin);
  const auto rows =
      std::make_unique_for_overwrite<S[]>(static_cast<std::size_t>(count) * static_cast<std::size_t>(cols));
  const auto row = [&](Index i) { return rows.get() + static_cast<std::size_t>(i) * static_cast<std::size_t>(cols); };
  if (inputs_first) {
    tensor->decode(first_row + from, static_cast<std::uint64_t>(count), rows.get(), precision);
    // A panel after the other: what is written lies together.
    for (Index first = 0; first < outputs; first += panel_width) {
      const Index width = (std::min)(panel_width, outputs - first), step = static_cast<Index>(output_step);
      for (Index j = 0; j < count; ++j) {
        const S* const values = row(j) + first_output + static_cast<std::uint64_t>(first) * output_step;
        S* const place = to.column_of_rows(first, begin + j);
        for (Index i = 0; i < width; ++i) place[i * to.step()] = values[i * step];
      }
    }
    return;
  }
  const std::uint64_t first = first_row + first_output + from * output_step;
  if (output_step == 1)
    tensor->decode(first, static_cast<std::uint64_t>(count), rows.get(), precision);
  else
    for (Index i = 0; i < count; ++i)
      tensor->decode(first + static_cast<std::uint64_t>(i) * output_step, 1, row(i), precision);
  if (to.in_panels && count == panel_width)
    return moe::detail::transpose_rows(row(0), static_cast<Index>(cols), count, inputs, to.column_of_rows(begin, 0));
  for (Index j = 0; j < inputs; ++j) {
    S* const place = to.column_of_rows(begin, j);
    for (Index i = 0; i < count; ++i) place[i * to.step()] = row(i)[j];
  }
}

template <class S>
bool StoredWeight::holds(const Matrix<double>& numbers) const {
  if (numbers.rows() != outputs || numbers.cols() != inputs) return false;
  Matrix<S> values(outputs, inputs);
  for (Index part = 0; part < parts(); ++part) {
    read_part<S>(part, {values.data(), outputs, inputs, false}, Precision::rounded);
    const Index begin = part * panel_width, end = (std::min)(begin + panel_width, inputs_first ? inputs : outputs);
    for (Index i = inputs_first ? 0 : begin; i < (inputs_first ? outputs : end); ++i)
      for (Index j = inputs_first ? begin : 0; j < (inputs_first ? end : inputs); ++j) {
        using moe::detail::has_nan_bits;
        const auto stored = static_cast<double>(values(i, j)), number = numbers(i, j);
        if (stored != number && !(has_nan_bits(stored) && has_nan_bits(number))) return false;
      }
  }
  return true;
}

}  // namespace io

namespace detail {

/// The weights that a layer is to get, and their places in it: noted first, read together by many threads.
template <class S>
class WeightReading {
 public:
  void add(const io::StoredWeight& from, Weights<S>& to) { add(from, to, true); }
  void add(const io::StoredWeight& from, Matrix<S>& to) { add(from, to, false); }
  void add(const io::StoredWeight& from, Vector<S>& to) {
    to.resize(from.outputs);
    note(from, {to.data(), from.outputs, 1, false});
  }
  /// Empty where the checkpoint has none.
  void add(const io::StoredWeight* from, auto& to) {
    to = std::remove_reference_t<decltype(to)>();
    if (from != nullptr) add(*from, to);
  }

  Index weights() const { return static_cast<Index>(jobs_.size()); }
  bool has(const io::StoredWeight& weight) const {
    return std::ranges::any_of(jobs_, [&](const Job& job) { return job.from == &weight; });
  }

  template <class Exec>
  void run(const Exec& executor, io::Precision precision) const {
    executor.parallel_for(first_part_, [&](Index part) {
      const auto after = std::upper_bound(jobs_.begin(), jobs_.end(), part,
                                          [](Index wanted, const Job& job) { return wanted < job.first_part; });
      const Job& job = *(after - 1);
      job.from->read_part(part - job.first_part, job.to, precision);
    });
  }

 private:
  struct Job {
    const io::StoredWeight* from;
    WeightPlace<S> to;
    Index first_part;
  };

  void add(const io::StoredWeight& from, auto& to, bool in_panels) {
    to.resize(from.outputs, from.inputs);
    note(from, {to.data(), from.outputs, from.inputs, in_panels});
  }
  void note(const io::StoredWeight& from, const WeightPlace<S>& to) {
    prefer_large_pages(to.data, sizeof(S) * static_cast<std::size_t>(to.rows * to.cols));
    jobs_.push_back({&from, to, first_part_});
    first_part_ += from.parts();
  }

  std::vector<Job> jobs_;
  Index first_part_ = 0;  // of the next one
};

}  // namespace detail

MOE_NAMESPACE_END
