// Positions as rotations.
#pragma once

#include <cmath>

#include "moe/core/core.hpp"

namespace example {

using moe::Index;

/// Rotary positions (Su et al. 2021): in a head's row at position p, the pair of entries (i, i + width / 2) is turned
/// by the angle p * 10000^(-2i / width), so that products of queries and keys depend on their distance.
template <class S>
struct Rotary {
  moe::Matrix<S> cosine_LH, sine_LH;  ///< Of position and pair.

  Rotary() = default;
  Rotary(Index length, Index width) : cosine_LH(length, width / 2), sine_LH(length, width / 2) {
    for (Index i = 0; i < width / 2; ++i) {
      const double speed = std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(width));
      for (Index p = 0; p < length; ++p) {
        cosine_LH(p, i) = static_cast<S>(std::cos(static_cast<double>(p) * speed));
        sine_LH(p, i) = static_cast<S>(std::sin(static_cast<double>(p) * speed));
      }
    }
  }

  /// Rows at positions 0, 1, ...; direction -1 turns back, which is the adjoint.
  template <class Rows>
  void turn(Rows&& rows, S direction = 1) const {
    const Index half = cosine_LH.cols();
    for (Index p = 0; p < rows.rows(); ++p)
      for (Index i = 0; i < half; ++i) {
        const S a = rows(p, i), b = rows(p, i + half), sine = direction * sine_LH(p, i);
        rows(p, i) = a * cosine_LH(p, i) - b * sine;
        rows(p, i + half) = a * sine + b * cosine_LH(p, i);
      }
  }
};

}  // namespace example
