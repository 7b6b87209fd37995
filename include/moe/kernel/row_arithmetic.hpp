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

/// to[i] = f(i). Eight values are made before they are stored, so that a compiler makes packets of them also where it
/// cannot know that what f reads lies elsewhere.
template <class S, class F>
EIGEN_ALWAYS_INLINE void map_row(Index size, S* to, const F& f) {
  constexpr Index run = 8;
  Index begin = 0;
  for (; begin + run <= size; begin += run) {
    S values[run];
    for (Index i = 0; i < run; ++i) values[i] = f(begin + i);
    for (Index i = 0; i < run; ++i) to[begin + i] = values[i];
  }
  for (; begin < size; ++begin) to[begin] = f(begin);
}

/// to = factor * from; `to` may be `from`.
template <class S>
void set_scaled_row(S factor, const S* from, Index size, S* to) {
  map_row(size, to, [=](Index i) { return factor * from[i]; });
}

/// to += factor * from.
template <class S>
void add_scaled_row(S factor, const S* from, Index size, S* to) {
  map_row(size, to, [=](Index i) { return to[i] + factor * from[i]; });
}

/// to += factor * (a - b).
template <class S>
void add_scaled_difference(S factor, const S* a, const S* b, Index size, S* to) {
  map_row(size, to, [=](Index i) { return to[i] + factor * (a[i] - b[i]); });
}

/// to = a * x + b * y; `to` may be one of them.
template <class S>
void blend_rows(S a, const S* x, S b, const S* y, Index size, S* to) {
  map_row(size, to, [=](Index i) { return a * x[i] + b * y[i]; });
}

/// ||a - b||^2, by panel_width sums side by side, in one order wherever the rows lie.
template <class S>
S squared_distance(const S* a, const S* b, Index size) {
  constexpr auto lanes = static_cast<std::size_t>(panel_width);
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
