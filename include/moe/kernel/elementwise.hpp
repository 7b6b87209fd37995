// Work value by value on rows, chunk by chunk, and the functions that activations, scores and weights are
// made of. The
// last, partial chunk of a row is padded, so that the bits of a value do not depend on where it lies: Eigen's
// expressions of any size do not promise that, since they compute what is left over by another function.
#pragma once

#include <cmath>
#include <concepts>

#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Calls f(begin, count) for each chunk of 0 .. size - 1.
template <class F>
EIGEN_ALWAYS_INLINE void for_each_chunk(Index size, F&& f) {
  Index begin = 0;
  for (; begin + panel_width <= size; begin += panel_width) f(begin, panel_width);
  if (begin < size) f(begin, size - begin);
}

/// out[i] = f(in[i]...), f from chunks to a chunk. `out` may be one of the inputs.
template <class S, class F, class... In>
void map_chunks(Index size, S* out, F&& f, const In*... in) {
  for_each_chunk(size, [&](Index begin, Index count) {
    store_chunk<S>(f(load_chunk(in + begin, count, S(0))...), out + begin, count);
  });
}

/// The greater of x and -1000, beyond which every activation here is 0. There vectorised exp is not 0 but about the
/// smallest normal number, which the largest factors would make visible. NaN stays NaN.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> bounded_below(const Chunk<S>& x) {
  return where_less(x, S(-1000), S(-1000), x);
}

/// x moved into -1000 .. 1000, so that its powers do not overflow; every derivative here is 0 or 1 beyond.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> bounded(const Chunk<S>& x) {
  return where_less(S(1000), x, S(1000), bounded_below<S>(x));
}

/// 1 / (1 + exp(-x)), by exp of a negative number on either side: no overflow.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> sigmoid(const Chunk<S>& x) {
  const Chunk<S> decay = (-x.abs()).exp();
  return where_less(x, S(0), decay, S(1)) / (S(1) + decay);
}

/// The same of one number, by the scalar exp: other bits than the chunk's.
template <std::floating_point S>
S sigmoid(S x) {
  const S decay = std::exp(-std::abs(x));
  return (x >= 0 ? S(1) : decay) / (S(1) + decay);
}

/// Whether Eigen has log1p in packets of this type. Where it has not, the functions below go value by value as a whole.
template <class S>
inline constexpr bool has_log1p_packets =
    Eigen::internal::functor_traits<Eigen::internal::scalar_log1p_op<S>>::PacketAccess != 0;

/// log(1 + exp(x)) without overflow.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> softplus(const Chunk<S>& x) {
  const Chunk<S> above = where_less(x, S(0), S(0), x), falling = -x.abs();
  if constexpr (has_log1p_packets<S>)
    return above + falling.exp().log1p();
  else
    return above + falling.unaryExpr([](S value) { return std::log1p(std::exp(value)); });
}

/// The same of one number.
template <std::floating_point S>
S softplus(S x) {
  return (x > 0 ? x : S(0)) + std::log1p(std::exp(-std::abs(x)));
}

/// log(p / (1 - p)), p from 0 to 1.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> log_odds(const Chunk<S>& p) {
  if constexpr (has_log1p_packets<S>)
    return p.log() - (-p).log1p();
  else
    return p.unaryExpr([](S value) { return std::log(value) - std::log1p(-value); });
}

}  // namespace detail

MOE_NAMESPACE_END
