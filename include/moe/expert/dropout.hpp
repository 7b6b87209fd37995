// Dropout whose mask is a function of a seed and of the place, so that it depends neither on threads nor on the order
// in which the places are visited, and need not be kept for the backward pass.
#pragma once

#include <cstdint>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A well-mixed function of 64 bits (the finaliser of SplitMix64, Steele et al. 2014).
inline std::uint64_t mixed_bits(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace detail

/// Sets each value to 0 with probability `rate`, and multiplies the others by 1 / (1 - rate) (Srivastava et al. 2014).
/// For an expert of your own too: keep `std::optional<std::uint64_t> random` in its Tape, which the layer sets to a
/// seed for training passes and empties for the others, and call `drop` with it in both passes.
struct Dropout {
  double rate = 0;

  void check() const {
    require(detail::has_finite_bits(rate) && rate >= 0 && rate < 1, "Dropout: the rate is ", rate,
            ", it must be in [0, 1)");
  }

  /// Of these columns of a matrix (n, F), all by default; `values_NF` are its rows from `row` on. Without a seed (any
  /// std::optional<std::uint64_t>), nothing.
  template <class Seed, class Rows>
  void drop(const Seed& seed, Rows& values_NF, Index first, Index count, Index row = 0) const {
    if (rate > 0 && seed)
      for (Index n = 0; n < values_NF.rows() && count > 0; ++n)
        drop_row(*seed, row + n, first, count, &values_NF(n, first));
  }
  template <class Seed, class Rows>
  void drop(const Seed& seed, Rows& values_NF) const {
    drop(seed, values_NF, 0, values_NF.cols());
  }

 private:
  template <class S>
  EIGEN_DONT_INLINE void drop_row(std::uint64_t seed, Index row, Index first, Index count, S* values) const {
    constexpr std::uint64_t golden = 0x9e3779b97f4a7c15u;  // odd, so that places in a row have different states
    const std::uint64_t of_row = detail::mixed_bits(seed + golden * (static_cast<std::uint64_t>(row) + 1));
    const auto threshold = static_cast<std::uint64_t>(rate * 0x1p53);
    const S scale = static_cast<S>(1 / (1 - rate));
    for (Index j = 0; j < count; ++j) {
      const auto place = static_cast<std::uint64_t>(first + j + 1);
      values[j] = (detail::mixed_bits(of_row + golden * place) >> 11) < threshold ? S(0) : scale * values[j];
    }
  }
};

MOE_NAMESPACE_END
