// Softmax and log-sum-exp of a row, and the product of a softmax's Jacobian with a vector.
#pragma once

#include <cmath>
#include <limits>

#include "moe/core.hpp"
#include "moe/kernel/chunk.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// exp of values <= 0; results below the smallest normal number are 0, so that exp(-infinity) is 0 in every
/// instruction set.
template <class S>
Chunk<S> exp_of_negative(const Chunk<S>& x) {
  const S lowest = std::log((std::numeric_limits<S>::min)());
  const Chunk<S> value = x.exp();  // a value: inside select, Eigen would call the scalar exp
  return (x < lowest).select(S(0), value);
}

/// Of 1 or more values.
template <class S>
S largest(const S* row, Index size) {
  Chunk<S> best = Chunk<S>::Constant(row[0]);
  for_each_chunk(size, [&](Index begin, Index count) { best = (best.max)(load_chunk(row + begin, count, row[0])); });
  return best.maxCoeff();
}

/// exp(row - shift) into `out`; returns the sum.
template <class S>
S exp_shifted(const S* row, Index size, S shift, S* out) {
  Chunk<S> sum = Chunk<S>::Zero();
  for_each_chunk(size, [&](Index begin, Index count) {
    const Chunk<S> shifted = load_chunk(row + begin, count, shift) - shift;
    store_chunk<S>(exp_of_negative<S>(shifted), out + begin, count);
    sum += load_chunk(out + begin, count, S(0));
  });
  return sum.sum();
}

template <class S>
void scale_row(S* row, Index size, S factor) {
  map_chunks(
      size, row, [factor](const Chunk<S>& x) -> Chunk<S> { return x * factor; }, row);
}

/// probabilities = softmax(logits); returns log(sum(exp(logits))). A row of finite logits is never NaN, whatever their
/// size; +infinity takes all the probability (several share it evenly); a row with NaN, or of nothing but -infinity,
/// gives NaN. `probabilities` may be `logits`.
template <class S>
S softmax_row(const S* logits, Index size, S* probabilities) {
  if (size == 0) return -std::numeric_limits<S>::infinity();
  const S shift = largest(logits, size);
  if (shift == std::numeric_limits<S>::infinity()) {
    S count = 0;
    for (Index i = 0; i < size; ++i) {
      const S share = logits[i] == shift ? S(1) : exp_of_negative<S>(Chunk<S>::Constant(logits[i] - shift))(0);
      probabilities[i] = share;
      count += share;
    }
    scale_row(probabilities, size, S(1) / count);
    return shift;
  }
  const S sum = exp_shifted(logits, size, shift, probabilities);
  scale_row(probabilities, size, S(1) / sum);
  return shift + std::log(sum);
}

template <class S>
S dot_rows(const S* a, const S* b, Index size) {
  Chunk<S> sum = Chunk<S>::Zero();
  for_each_chunk(size, [&](Index begin, Index count) {
    sum += load_chunk(a + begin, count, S(0)) * load_chunk(b + begin, count, S(0));
  });
  return sum.sum();
}

/// J = diag(p) - p p', so dlogits += J dp = p .* (dp - p'dp).
template <class S>
void softmax_row_backward(const S* probabilities, const S* dprobabilities, Index size, S* dlogits) {
  const S inner = dot_rows(probabilities, dprobabilities, size);
  map_chunks(
      size, dlogits,
      [inner](const Chunk<S>& d, const Chunk<S>& p, const Chunk<S>& dp) -> Chunk<S> { return d + p * (dp - inner); },
      dlogits, probabilities, dprobabilities);
}

}  // namespace detail

MOE_NAMESPACE_END
