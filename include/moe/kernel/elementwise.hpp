// Functions that activations, scores and weights are made of, of chunks and of single numbers.
#pragma once

#include <cmath>
#include <concepts>

#include "moe/core/core.hpp"
#include "moe/kernel/chunk.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> all(S value) {
  return Chunk<S>::Constant(value);
}

/// The greater of x and -1000, beyond which every activation here is 0. There vectorised exp is not 0 but about the
/// smallest normal number, which the largest factors would make visible. NaN stays NaN.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> bounded_below(const Chunk<S>& x) {
  return where_less<S>(x, all(S(-1000)), all(S(-1000)), x);
}

/// x moved into -1000 .. 1000, so that its powers do not overflow; every derivative here is 0 or 1 beyond.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> bounded(const Chunk<S>& x) {
  return where_less<S>(all(S(1000)), x, all(S(1000)), bounded_below<S>(x));
}

/// 1 / (1 + exp(-x)), by exp of a negative number on either side: no overflow.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> sigmoid(const Chunk<S>& x) {
  const Chunk<S> decay = (-x.abs()).exp();
  return where_less<S>(x, all(S(0)), decay, all(S(1))) / (S(1) + decay);
}

/// The same of one number, by the scalar exp: other bits than the chunk's.
template <std::floating_point S>
S sigmoid(S x) {
  const S decay = std::exp(-std::abs(x));
  return (x >= 0 ? S(1) : decay) / (S(1) + decay);
}

/// log(1 + exp(x)) without overflow.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> softplus(const Chunk<S>& x) {
  return where_less<S>(x, all(S(0)), all(S(0)), x) + (-x.abs()).exp().log1p();
}

/// The same of one number.
template <std::floating_point S>
S softplus(S x) {
  return (x > 0 ? x : S(0)) + std::log1p(std::exp(-std::abs(x)));
}

}  // namespace detail

MOE_NAMESPACE_END
