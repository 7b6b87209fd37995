// Functions from logits to scores of experts, on rows, by way of their logarithms.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

enum class ScoreFunction : std::uint8_t { softmax, sigmoid, sqrt_softplus };

/// Below this logit, log(softplus(z)) equals z to the last bit.
template <class S>
S log_softplus_is_linear() {
  return std::log(std::numeric_limits<S>::epsilon());
}

/// logs = log(score(logits)), never -infinity for a finite logit.
template <class S>
void log_score_row(ScoreFunction function, const S* logits, Index experts, S* logs) {
  const bool is_softmax = function == ScoreFunction::softmax, is_sigmoid = function == ScoreFunction::sigmoid;
  if (is_softmax) {
    const auto sum = softmax_row(logits, experts, logs);
    const S log_sum = std::log(sum.sum);
    if (has_finite_bits(sum.shift)) {
      return map_row(experts, logs, [=](Index e) { return logits[e] - sum.shift - log_sum; });
    }
  }
  // Of a softmax there are the probabilities: an infinite logit has probability 1, or shares it; or the row is NaN.
  const S linear = log_softplus_is_linear<S>();
  map_chunks(
      experts, logs,
      [=](const Chunk<S>& z) -> Chunk<S> {
        const Chunk<S> score = is_softmax ? z : softplus<S>(is_sigmoid ? -z : z);
        if (is_sigmoid) return -score;
        const Chunk<S> log = score.log();
        return is_softmax ? log : S(0.5) * where_less(z, linear, z, log);
      },
      is_softmax ? logs : logits);
}

/// dlogits += the product of the Jacobian of log_score_row and dlogs. `probabilities` are the softmax of the logits;
/// only the softmax reads them.
template <class S>
void log_score_row_backward(ScoreFunction function, const S* logits, const S* probabilities, const S* dlogs,
                            Index experts, S* dlogits) {
  if (function == ScoreFunction::softmax) {  // dz = dl - p sum dl
    const S sum = sum_row(dlogs, experts);
    return map_row(experts, dlogits, [=](Index e) { return dlogits[e] + dlogs[e] - probabilities[e] * sum; });
  }
  const bool is_sigmoid = function == ScoreFunction::sigmoid;
  const S linear = log_softplus_is_linear<S>();
  map_chunks(
      experts, dlogits,
      [=](const Chunk<S>& d, const Chunk<S>& dl, const Chunk<S>& z) -> Chunk<S> {
        const Chunk<S> rise = sigmoid<S>(is_sigmoid ? -z : z);
        if (is_sigmoid) return d + dl * rise;  // d log sigmoid(z) = sigmoid(-z)
        // d log sqrt(softplus(z)) = sigmoid(z) / (2 softplus(z)), which is 1/2 where both vanish
        return d + S(0.5) * dl * where_less(z, linear, S(1), rise / softplus<S>(z));
      },
      dlogits, dlogs, logits);
}

/// scores = exp(logs). What is too small for S becomes 0. `scores` may be `logs`.
template <class S>
void exp_row(const S* logs, Index experts, S* scores) {
  const S lowest = std::log((std::numeric_limits<S>::min)());
  map_chunks(
      experts, scores, [lowest](const Chunk<S>& l) -> Chunk<S> { return where_less(l, lowest, S(0), l.exp()); }, logs);
}

}  // namespace detail

MOE_NAMESPACE_END
