// The balanced transport plan of Sinkhorn routing.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// P = diag(a) K diag(b) with K = exp(logits / temperature), whose rows add up to 1 / T and columns to 1 / E.
///
/// At temperature 1 as in Megatron-Core: from b = 1, a = 1 / T / (K b + epsilon), b = 1 / E / (K' a + epsilon), until
/// the mean change of b is at most the tolerance. Epsilon limits how much b can balance.
///
/// At another temperature there is no epsilon, and logarithms are iterated, until the columns of P are on average
/// within the tolerance of their share. If logits lie g temperatures apart, this may take g rounds.
///
/// Padding takes no part in P, nor does a token whose logits include NaN or +infinity, or are all -infinity: it chooses
/// by its logits alone and changes no other token's choice.
struct Transport {
  double tolerance, epsilon;
  Index most_rounds;
  double temperature;

  template <class S>
  static bool takes_part(const Routing<S>& routing, Index t) {
    return routing.is_valid(t) && has_finite_bits(routing.workspace.token2_T(t));
  }

  /// (z - shift) / temperature of a token's logits.
  template <class S>
  auto distance(const Routing<S>& routing, Index t) const {
    return ((routing.selection_logits_TE().row(t).array() - routing.workspace.token2_T(t)) /
            static_cast<S>(temperature))
        .matrix();
  }

  /// Computes P = exp(distance + log b) a: log a goes into the workspace's token_T, log b into expert_E, the shifts
  /// into token2_T, where NaN marks a token that takes no part.
  template <class S>
  void balance(Routing<S>& routing) const {
    auto& workspace = routing.workspace;
    workspace.token_T.setZero(routing.tokens());
    workspace.token2_T.resize(routing.tokens());
    workspace.sums_E.resize(routing.experts());
    Index taking_part = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      const S* logits = routing.selection_logits_TE().row(t).data();
      const bool has_nan = std::any_of(logits, logits + routing.experts(), [](S z) { return has_nan_bits(z); });
      const S best = largest(logits, routing.experts());
      const bool is_usable = !has_nan && has_finite_bits(best);
      workspace.token2_T(t) = !is_usable         ? std::numeric_limits<S>::quiet_NaN()
                              : temperature == 1 ? (std::max)(S(0), best)
                                                 : best;
      taking_part += takes_part(routing, t) ? 1 : 0;
    }
    const S row_sum = S(1) / static_cast<S>((std::max)(taking_part, Index{1}));
    if (temperature == 1)
      balance_kernel(routing, row_sum);
    else
      balance_logarithms(routing, row_sum);
  }

 private:
  /// Rows are shifted by their largest logit, and epsilon with them, so that nothing overflows and P is the same.
  template <class S>
  void balance_kernel(Routing<S>& routing, S row_sum) const {
    const Index experts = routing.experts();
    auto& workspace = routing.workspace;
    Vector<S>&a = workspace.token_T, &b = workspace.expert_E;
    Vector<Wide<S>>& column = workspace.sums_E;
    Buffer<Matrix<S>>& kernel = workspace.rows_TE;  // each row, and its epsilon as last entry
    b.setOnes(experts);
    kernel.resize(routing.tokens(), experts + 1);
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!takes_part(routing, t)) continue;
      kernel.row(t).head(experts) = distance(routing, t).array().exp();
      kernel(t, experts) = static_cast<S>(epsilon) * std::exp(-workspace.token2_T(t));
    }
    const S column_sum = S(1) / static_cast<S>(experts);
    for (Index round = 0; round < most_rounds; ++round) {
      column.setZero();
      for (Index t = 0; t < routing.tokens(); ++t) {
        if (!takes_part(routing, t)) continue;
        const auto kernel_E = kernel.row(t).head(experts);
        a(t) = row_sum / (kernel_E.dot(b) + kernel(t, experts));
        column += (kernel_E.transpose() * a(t)).template cast<Wide<S>>();
      }
      S change = 0;
      for (Index e = 0; e < experts; ++e) {
        const S next = column_sum / (static_cast<S>(column(e)) + static_cast<S>(epsilon));
        change += std::abs(next - b(e)) / static_cast<S>(experts);
        b(e) = next;
      }
      if (!(change > static_cast<S>(tolerance))) break;
    }
    a = a.array().log();
    b = b.array().log();
  }

  /// The same iteration: a round makes rows even by a softmax of distance + log b, then log b += log(share / column).
  template <class S>
  void balance_logarithms(Routing<S>& routing, S row_sum) const {
    const Index experts = routing.experts();
    auto& workspace = routing.workspace;
    Vector<S>&log_a = workspace.token_T, &log_b = workspace.expert_E;
    Vector<Wide<S>>& column = workspace.sums_E;
    Buffer<Matrix<S>>& p_E = workspace.rows_TE;
    p_E.resize(1, experts);
    log_b.setZero(experts);
    const S share = S(1) / static_cast<S>(experts);
    for (Index round = 0; round < most_rounds; ++round) {
      column.setZero();
      for (Index t = 0; t < routing.tokens(); ++t) {
        if (!takes_part(routing, t)) continue;
        p_E.row(0) = distance(routing, t) + log_b.transpose();
        log_a(t) = std::log(row_sum) - softmax_row(p_E.data(), experts, p_E.data()).log();
        column += (row_sum * p_E.row(0).transpose()).template cast<Wide<S>>();
      }
      const auto distance_left =
          static_cast<S>((column.array() - Wide<S>(share)).abs().sum());  // the mean over the columns, in shares
      for (Index e = 0; e < experts; ++e)  // a column that underflowed grows round by round
        log_b(e) += std::log(share / (std::max)(static_cast<S>(column(e)), (std::numeric_limits<S>::min)()));
      if (!(distance_left > static_cast<S>(tolerance))) break;
    }
  }
};

}  // namespace detail

MOE_NAMESPACE_END
