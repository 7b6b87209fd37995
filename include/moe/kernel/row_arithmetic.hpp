// Sums and products of rows as plain loops: for what is done once an expert or a token, where Eigen's expressions would
// cost more to compile than they save.
#pragma once

#include <array>
#include <cstddef>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Where a row of a row-major matrix begins.
template <class M>
auto* row_at(M&& matrix, Index row) {
  return matrix.data() + row * matrix.outerStride();
}

template <class S>
void fill_row(S* to, Index size, S value) {
  for (Index i = 0; i < size; ++i) to[i] = value;
}

/// to = factor * from; `to` may be `from`.
template <class S>
void set_scaled_row(S factor, const S* from, Index size, S* to) {
  for (Index i = 0; i < size; ++i) to[i] = factor * from[i];
}

/// to += factor * from.
template <class S>
void add_scaled_row(S factor, const S* from, Index size, S* to) {
  for (Index i = 0; i < size; ++i) to[i] += factor * from[i];
}

/// to += factor * (a - b).
template <class S>
void add_scaled_difference(S factor, const S* a, const S* b, Index size, S* to) {
  for (Index i = 0; i < size; ++i) to[i] += factor * (a[i] - b[i]);
}

/// ||a - b||^2, by sixteen sums side by side, in one order wherever the rows lie.
template <class S>
S squared_distance(const S* a, const S* b, Index size) {
  constexpr std::size_t lanes = 16;
  std::array<S, lanes> sums{};
  const auto count = static_cast<std::size_t>(size);
  std::size_t begin = 0;
  for (; begin + lanes <= count; begin += lanes)
    for (std::size_t i = 0; i < lanes; ++i) sums[i] += (a[begin + i] - b[begin + i]) * (a[begin + i] - b[begin + i]);
  for (std::size_t i = 0; begin + i < count; ++i)
    sums[i] += (a[begin + i] - b[begin + i]) * (a[begin + i] - b[begin + i]);
  for (std::size_t half = lanes / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  return sums[0];
}

}  // namespace detail

MOE_NAMESPACE_END
