// Functions of chunks that activations and scores are made of.
#pragma once

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

}  // namespace detail

MOE_NAMESPACE_END
