// The checks of the public edge: what is wrong is refused with the numbers, and nothing has been changed.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

#include "moe/core/number_bits.hpp"
#include "moe/core/text.hpp"
#include "moe/core/types.hpp"
#include "moe/core/version.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Throws std::invalid_argument with the pieces, one after the other; without exceptions, prints them and aborts.
[[noreturn, gnu::cold, gnu::noinline]] inline void refuse(const Piece* pieces, std::size_t count) {
  const std::string message = "moe: " + joined_pieces(6, pieces, count);
#ifdef __cpp_exceptions
  throw std::invalid_argument(message);
#else
  std::fprintf(stderr, "%s\n", message.c_str());
  std::abort();
#endif
}

}  // namespace detail

/// Always on: refuses what is wrong at the public edge, with the numbers in the message.
/// Throws: std::invalid_argument; without exceptions, prints the message and aborts.
template <class... Parts>
EIGEN_ALWAYS_INLINE void require(bool holds, const Parts&... parts) {
  if (holds) [[likely]]
    return;
  const detail::Piece pieces[] = {detail::Piece(parts)...};
  detail::refuse(pieces, sizeof...(parts));
}

namespace detail {

inline void require_size(std::string_view what, Index own_rows, Index own_columns, Index rows, Index columns) {
  require(own_rows == rows && own_columns == columns, what, " is ", own_rows, " x ", own_columns, ", it must be ", rows,
          " x ", columns);
}

}  // namespace detail

template <class M>
void require_shape(std::string_view what, const M& matrix, Index rows, Index columns) {
  detail::require_size(what, matrix.rows(), matrix.cols(), rows, columns);
}

namespace detail {

/// float is the narrowest type that it may be rounded to.
inline void require_temperature(std::string_view what, double temperature) {
  constexpr double least = (std::numeric_limits<float>::min)(), most = (std::numeric_limits<float>::max)();
  require(has_finite_bits(temperature) && temperature >= least && temperature <= most, what, ": temperature is ",
          temperature, ", it must be finite and more than 0, as float too");
}

}  // namespace detail

MOE_NAMESPACE_END
