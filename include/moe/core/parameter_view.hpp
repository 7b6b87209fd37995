// A parameter without its type: what is done entry by entry needs no more than where the entries lie, and is compiled
// once instead of once for each type of layer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/core/function_ref.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// What is done with entries of one scalar type.
struct EntryType {
  std::size_t bytes;
  bool is_number;       ///< Of the language: 0 is all bytes 0.
  double least_factor;  ///< The smallest normal number: scale() by less would lose digits.
  void (*read)(const void* from, Index count, double* to);
  void (*write)(const double* from, Index count, void* to);
  double (*squares)(const void* entries, Index count);       ///< Their sum.
  void (*scale)(void* entries, Index count, double factor);  ///< The factor is rounded to the entries' type.
};

template <class S>
void read_entries(const void* from, Index count, double* to) {
  for (Index i = 0; i < count; ++i) to[i] = static_cast<double>(static_cast<const S*>(from)[i]);
}
template <class S>
void write_entries(const double* from, Index count, void* to) {
  for (Index i = 0; i < count; ++i) static_cast<S*>(to)[i] = static_cast<S>(from[i]);
}

/// In double, by a fixed number of sums, whatever the width of the processor's packets. The four quarters are read side
/// by side, which is faster than one after the other.
template <class S>
double squares_of_entries(const void* entries, Index count) {
  constexpr Index quarters = 4, lanes = 8;
  double sums[quarters * lanes] = {};
  const S* const values = static_cast<const S*>(entries);
  const Index quarter = count / (quarters * lanes) * lanes, rest = quarters * quarter;
  for (Index i = 0; i < quarter; i += lanes)
    for (Index q = 0; q < quarters; ++q)
      for (Index k = 0; k < lanes; ++k) {
        const auto value = static_cast<double>(values[q * quarter + i + k]);
        sums[q * lanes + k] += value * value;
      }
  for (Index i = rest; i < count; ++i) {
    const auto value = static_cast<double>(values[i]);
    sums[i - rest] += value * value;
  }
  for (Index half = quarters * lanes / 2; half > 0; half /= 2)
    for (Index k = 0; k < half; ++k) sums[k] += sums[k + half];
  return sums[0];
}

template <class S>
void scale_entries(void* entries, Index count, double factor) {
  const auto factor_of_type = static_cast<S>(factor);
  S* const values = static_cast<S*>(entries);
  for (Index i = 0; i < count; ++i) values[i] = values[i] * factor_of_type;
}

template <class S>
inline constexpr EntryType entry_type{
    sizeof(S),
    std::is_arithmetic_v<S>,
    std::is_same_v<S, float> ? (std::numeric_limits<float>::min)() : (std::numeric_limits<double>::min)(),
    read_entries<S>,
    write_entries<S>,
    squares_of_entries<S>,
    scale_entries<S>};

/// Where a parameter lies, its entries one after the other. The view of a const parameter is only read.
struct ParameterView {
  const EntryType* type;
  void* data;
  Index rows, cols;
  bool has_rows_as_runs;  ///< A row is a run of entries: not of Weights, whose rows lie in panels.
  bool is_vector;         ///< One column, by its type.

  Index size() const { return rows * cols; }

  void read(Index begin, Index count, double* to) const { type->read(entry(begin), count, to); }
  void write(Index begin, Index count, const double* from) const { type->write(from, count, entry(begin)); }

  double squares() const { return type->squares(data, size()); }

  /// These entries alone, as a row.
  ParameterView run(Index begin, Index count) const { return {type, entry(begin), 1, count, true, false}; }

  void set_zero() const {
    if (size() > 0 && type->is_number) {
      std::memset(data, 0, static_cast<std::size_t>(size()) * type->bytes);
      return;
    }
    const double zero = 0;
    for (Index i = 0; i < size(); ++i) write(i, 1, &zero);
  }

  /// Multiplies all entries by limit / norm.
  void scale(double limit, double norm) const {
    if (limit / norm >= type->least_factor) return type->scale(data, size(), limit / norm);
    for_each_block([&](Index begin, double* values, Index count) {
      for (Index i = 0; i < count; ++i) values[i] = values[i] / norm * limit;
      write(begin, count, values);
    });
  }

  /// Calls f(begin, values, count) for all entries in order, in blocks.
  template <class F>
  void for_each_block(F&& f) const {
    double values[block];
    for (Index begin = 0; begin < size(); begin += block) {
      const Index count = (std::min)(block, size() - begin);
      read(begin, count, values);
      f(begin, values, count);
    }
  }

 private:
  static constexpr Index block = 256;

  void* entry(Index i) const { return static_cast<char*>(data) + static_cast<std::size_t>(i) * type->bytes; }
};

template <class Parameter>
constexpr bool is_vector() {
  if constexpr (requires { Parameter::ColsAtCompileTime; })
    return Parameter::ColsAtCompileTime == 1;
  else
    return false;
}

template <class Parameter>
constexpr bool has_rows_as_runs() {
  if constexpr (requires { Parameter::IsRowMajor; })
    return Parameter::IsRowMajor || is_vector<Parameter>();
  else
    return false;
}

template <class Parameter>
ParameterView view_of(Parameter& parameter) {
  using Entry = std::remove_pointer_t<decltype(parameter.data())>;
  using S = std::remove_const_t<Entry>;
  static_assert(std::is_const_v<Parameter> || !std::is_const_v<Entry>,
                "moe: a parameter whose entries are const, such as a map of const memory, cannot be set");
  using Plain = std::remove_const_t<Parameter>;
  return {&entry_type<S>,
          const_cast<S*>(parameter.data()),
          static_cast<Index>(parameter.rows()),
          static_cast<Index>(parameter.cols()),
          has_rows_as_runs<Plain>(),
          is_vector<Plain>()};
}

/// The visitor that hands over views.
struct ViewVisitor {
  FunctionRef<void(std::string_view name, const ParameterView* parameters)> f;

  template <class... Parameters>
  void operator()(std::string_view name, Parameters&... parameters) const {
    const ParameterView views[] = {view_of(parameters)...};
    f(name, views);
  }
};

}  // namespace detail

MOE_NAMESPACE_END
