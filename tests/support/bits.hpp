// Equality to the last bit: NaN equals the same NaN, and 0 is not -0.
#pragma once

#include <cstddef>
#include <cstring>

#include "moe/core/core.hpp"
#include "moe/core/weights.hpp"

namespace support {

template <class A, class B>
bool same_bits(const Eigen::PlainObjectBase<A>& a, const Eigen::PlainObjectBase<B>& b) {
  using S = typename A::Scalar;
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         (a.size() == 0 || std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(S)) == 0);
}

template <class S>
bool same_bits(const moe::Weights<S>& a, const moe::Weights<S>& b) {
  return same_bits(a.matrix(), b.matrix());
}

inline bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace support
