// The one rule by which a number of choices or slots that a formula gives becomes a whole number.
#pragma once

#include <cmath>
#include <cstdint>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

/// How a number is rounded to a whole one.
enum class Rounding : std::uint8_t {
  down,     ///< floor
  up,       ///< ceil
  nearest,  ///< to even at .5, as Python rounds
};

namespace detail {

inline double rounded(double value, Rounding rounding) {
  return rounding == Rounding::down ? std::floor(value)
         : rounding == Rounding::up ? std::ceil(value)
                                    : std::nearbyint(value);
}

/// The least multiple that is not less than the number; both are 0 or more.
constexpr Index rounded_up(Index number, Index multiple) { return (number + multiple - 1) / multiple * multiple; }

}  // namespace detail

MOE_NAMESPACE_END
