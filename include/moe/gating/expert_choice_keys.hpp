// What experts compare tokens by: softmaxes over experts or over tokens, and keys that do not underflow.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "moe/core/buffer.hpp"
#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// log sum exp of all logits but one; -infinity of none.
template <class S>
S log_sum_of_others(const S* logits, Index experts, Index one) {
  S shift = -std::numeric_limits<S>::infinity(), sum = 0;
  for (Index e = 0; e < experts; ++e)
    if (e != one) shift = (std::max)(shift, logits[e]);
  if (!has_finite_bits(shift)) return shift;
  for (Index e = 0; e < experts; ++e)
    if (e != one) sum += std::exp(logits[e] - shift);
  return shift + std::log(sum);
}

/// Writes the probabilities of all tokens, each a softmax over the experts, and the keys by which an expert compares
/// tokens: log(p / (1 - p)) of the selection logits. The keys have the order of p, and still differ where p underflows
/// or rounds to 1.
template <class S>
void measure_tokens(Routing<S>& routing, Buffer<Matrix<S>>& key_TE) {
  const Index experts = routing.experts();
  const bool noise_only_selects = routing.noise.drawn && !routing.noise.weighs;
  key_TE.resize(routing.tokens(), experts);
  for (Index t = 0; t < routing.tokens(); ++t) {
    const S* logits = routing.selection_logits_TE().row(t).data();
    S *p_E = routing.probabilities_TE.row(t).data(), *key_E = key_TE.row(t).data();
    auto total = softmax_row(routing.weighing_logits_TE().row(t).data(), experts, p_E);
    if (noise_only_selects) total = softmax_row(logits, experts, key_E);
    const S* selects_E = noise_only_selects ? key_E : p_E;
    const S log_sum = std::log(total.sum);
    if (!has_finite_bits(total.shift)) {  // shares of 1, and 0; or NaN
      map_chunks(
          experts, key_E, [](const Chunk<S>& p) -> Chunk<S> { return log_odds<S>(p); }, selects_E);
      continue;
    }
    map_chunks(
        experts, key_E,
        [&](const Chunk<S>& z, const Chunk<S>& p) -> Chunk<S> { return z - total.shift - log_sum - (-p).log1p(); },
        logits, selects_E);
    if (!(largest(selects_E, experts) > S(0.5))) continue;
    Index best = 0;  // its 1 - p is small: it is the sum over the other experts
    top_k(logits, experts, Index{1}, &best);
    key_E[best] = logits[best] - log_sum_of_others(logits, experts, best);
  }
}

/// Writes the probabilities of some experts from `first` on, each a softmax over the group's tokens: one row of
/// `columns` an expert. A logit that is NaN has a probability of NaN, and does not count for the other tokens.
template <class S>
void measure_experts(Routing<S>& routing, const Index* tokens_of_group, Index first, Buffer<Matrix<S>>& columns) {
  constexpr S nothing = -std::numeric_limits<S>::infinity();
  const Matrix<S>& logits_TE = routing.weighing_logits_TE();
  const auto is_nan = [&](Index i, Index c) { return has_nan_bits(logits_TE(tokens_of_group[i], first + c)); };
  for (Index i = 0; i < columns.cols(); ++i)
    for (Index c = 0; c < columns.rows(); ++c)
      columns(c, i) = is_nan(i, c) ? nothing : logits_TE(tokens_of_group[i], first + c);
  for (Index c = 0; c < columns.rows(); ++c) {
    S* column = columns.row(c).data();
    if (largest(column, columns.cols()) > nothing)
      softmax_row(column, columns.cols(), column);
    else  // an expert that all tokens mask
      columns.row(c).setZero();
  }
  for (Index i = 0; i < columns.cols(); ++i)
    for (Index c = 0; c < columns.rows(); ++c)
      routing.probabilities_TE(tokens_of_group[i], first + c) =
          is_nan(i, c) ? std::numeric_limits<S>::quiet_NaN() : columns(c, i);
}

}  // namespace detail

MOE_NAMESPACE_END
