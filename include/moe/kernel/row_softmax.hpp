// Softmax and log-sum-exp of a row, and the product of a softmax's Jacobian with a vector.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "moe/core/chunk.hpp"
#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// exp of values <= 0; results below the smallest normal number are 0, so that exp(-infinity) is 0 in every
/// instruction set.
template <class S>
EIGEN_ALWAYS_INLINE Chunk<S> exp_of_negative(const Chunk<S>& x) {
  const S lowest = std::log((std::numeric_limits<S>::min)());
  constexpr S steep = S(1) / std::numeric_limits<S>::epsilon();
  // 1 from `lowest` upwards, 0 at the next number below.
  const Chunk<S> step = ((((x - lowest) * steep + S(1)).max)(S(0)).min)(S(1));
  return x.exp() * step;
}

/// Of 1 or more values.
template <class S>
S largest(const S* row, Index size) {
  Chunk<S> best = row[0];
  for_each_chunk(size, [&](Index begin, Index count) { best = (best.max)(load_chunk(row + begin, count, row[0])); });
  return best.maxCoeff();
}

/// The sum of f(begin, count), a chunk, over all chunks of 0 .. size - 1; f leaves places beyond the last value 0.
template <class S, class F>
EIGEN_ALWAYS_INLINE S sum_of_chunks(Index size, const F& f) {
  constexpr Index run = longest_run * panel_width;
  const auto sum_of_run = [&](Index first) {
    Chunk<S> sum = S(0);
    for_each_chunk((std::min)(run, size - first), [&](Index begin, Index count) { sum += f(first + begin, count); });
    return sum.sum();
  };
  if (size <= run) return sum_of_run(0);
  Wide<S> total = 0;
  for (Index first = 0; first < size; first += run) total += sum_of_run(first);
  return static_cast<S>(total);
}

/// exp(row - shift) into `out`; returns the sum.
template <class S>
S exp_shifted(const S* row, Index size, S shift, S* out) {
  return sum_of_chunks<S>(size, [&](Index begin, Index count) -> Chunk<S> {
    const Chunk<S> shifted = load_chunk(row + begin, count, shift) - shift;
    const Chunk<S> power = exp_of_negative<S>(shifted);
    store_chunk<S>(power, out + begin, count);
    return count == panel_width ? power : power * first_ones<S>(count);
  });
}

/// The sum of exp(logits), kept so that its logarithm is only taken where it is needed.
template <class S>
struct SumOfExponentials {
  S shift, sum;  // exp(shift) * sum
  S log() const { return has_finite_bits(shift) ? shift + std::log(sum) : shift; }
};

/// softmax_row where the largest logit, `shift`, is +infinity: never named here, since -ffast-math may make anything of
/// an infinity that it sees.
template <class S>
void softmax_of_infinities(const S* logits, Index size, S shift, S* probabilities) {
  S count = 0;
  for (Index i = 0; i < size; ++i) {
    const S share = logits[i] == shift ? S(1) : exp_of_negative<S>(logits[i] - shift)[0];
    probabilities[i] = share;
    count += share;
  }
  set_scaled_row(S(1) / count, probabilities, size, probabilities);
}

/// probabilities = softmax(logits). A row of finite logits is never NaN, whatever their size; +infinity takes all the
/// probability (several share it evenly); a row with NaN, or of nothing but -infinity, gives NaN. `probabilities` may
/// be `logits`.
template <class S>
SumOfExponentials<S> softmax_row(const S* logits, Index size, S* probabilities) {
  if (size == 0) return {-std::numeric_limits<S>::infinity(), S(0)};
  const bool is_short = size <= panel_width;  // then all of it stays in registers
  const Chunk<S> row = is_short ? load_chunk(logits, size, logits[0]) : Chunk<S>(S(0));
  const S shift = is_short ? row.maxCoeff() : largest(logits, size);
  if (!has_finite_bits(shift) && shift > 0) {
    softmax_of_infinities(logits, size, shift, probabilities);
    return {shift, S(1)};
  }
  if (is_short) {
    const Chunk<S> powers = exp_of_negative<S>(row - shift) * first_ones<S>(size);
    const S sum = powers.sum();
    store_chunk<S>(powers * (S(1) / sum), probabilities, size);
    return {shift, sum};
  }
  const S sum = exp_shifted(logits, size, shift, probabilities);
  set_scaled_row(S(1) / sum, probabilities, size, probabilities);
  return {shift, sum};
}

/// In one order wherever the row lies; Eigen's own sum of a row begins at an aligned address.
template <class S>
S sum_row(const S* row, Index size) {
  return sum_of_chunks<S>(size,
                          [&](Index begin, Index count) -> Chunk<S> { return load_chunk(row + begin, count, S(0)); });
}

template <class S>
S dot_rows(const S* a, const S* b, Index size) {
  return sum_of_chunks<S>(size, [&](Index begin, Index count) -> Chunk<S> {
    return load_chunk(a + begin, count, S(0)) * load_chunk(b + begin, count, S(0));
  });
}

/// J = diag(p) - p p', so dlogits += J dp = p .* (dp - p'dp). Where log p has gradients that were added to dlogits
/// already, `dlog_sum` is their sum: each logit then loses p times that.
template <class S>
void softmax_row_backward(const S* probabilities, const S* dprobabilities, Index size, S* dlogits, S dlog_sum = 0) {
  const S inner = dot_rows(probabilities, dprobabilities, size) + dlog_sum;
  map_chunks(
      size, dlogits,
      [inner](const Chunk<S>& d, const Chunk<S>& p, const Chunk<S>& dp) -> Chunk<S> { return d + p * (dp - inner); },
      dlogits, probabilities, dprobabilities);
}

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE SumOfExponentials<float> softmax_row<float>(const float*, Index, float*);
MOE_DETAIL_INSTANCE void softmax_row_backward<float>(const float*, const float*, Index, float*, float);
MOE_DETAIL_INSTANCE SumOfExponentials<double> softmax_row<double>(const double*, Index, double*);
MOE_DETAIL_INSTANCE void softmax_row_backward<double>(const double*, const double*, Index, double*, double);
#endif

}  // namespace detail

MOE_NAMESPACE_END
