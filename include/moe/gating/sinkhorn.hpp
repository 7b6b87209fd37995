// Sinkhorn routing: top-k of a balanced transport plan.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// In training (with a generator) the choices are the top-k of P = diag(a) exp(logits / temperature) diag(b), whose
/// rows add up to 1 / T and columns to 1 / E: from b = 1, a = 1 / T / (K b + epsilon), b = 1 / E / (K' a + epsilon),
/// until the mean change of b is at most the tolerance (Clark et al. 2022; Megatron-Core). With another temperature
/// than 1 no epsilon enters, which bounds how much b can balance, and logarithms are iterated, until the columns of
/// diag(a) K diag(b) are on average within the tolerance of their share; gaps of g temperatures between logits may take
/// g rounds. P has no gradient. In evaluation the choices are the top-k of the logits. Weights: sigmoid(logit) for k =
/// 1, else softmax over all experts, as it is. Meant to go without balance losses.
struct Sinkhorn {
  Index k = 1;
  double tolerance = 1e-4;
  double epsilon = 1e-8;  ///< Of temperature 1.
  Index most_rounds = 1000;
  double temperature = 1;  ///< Of the transport alone: its entropic regularisation (lingvo: 0.1, with 50 rounds).

  void check(Index experts) const {
    require(k >= 1 && k <= experts, "Sinkhorn: k is ", k, ", it must be 1 or more and at most the number of experts, ",
            experts);
    detail::require_temperature("Sinkhorn", temperature);
    require(tolerance > 0 && epsilon >= 0 && most_rounds > 0, "Sinkhorn: tolerance ", tolerance, ", epsilon ", epsilon,
            ", most_rounds ", most_rounds, ": they must be more than 0, at least 0, more than 0");
  }

  Index most_choices(Index) const { return k; }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    detail::check_route(*this, batch, routing);
    if (random == nullptr) {
      top_k().route(batch, routing, random);
    } else {
      Buffer<Matrix<S>>& key_TE = routing.workspace.rows2_TE;  // log P less what is the same for a token's experts
      key_TE.resize(routing.tokens(), routing.experts());
      balance(routing);
      for (Index t = 0; t < routing.tokens(); ++t) {
        if (takes_part(routing, t))
          key_TE.row(t) = distance(routing, t) + routing.workspace.expert_E.transpose();
        else
          key_TE.row(t) = routing.selection_logits_TE().row(t);
      }
      top_k().choose(routing, key_TE);
      for (Choice<S>& c : routing.choices) c.weight = routing.probabilities_TE(c.token, c.expert);
      routing.selects_largest_logits = false;
    }
    if (k == 1) ChoiceWeights::sigmoid().weigh(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    if (k > 1) return top_k().backward(routing, drouting);
    ChoiceWeights::sigmoid().backward(routing, drouting);
  }

  /// P for the tokens that take part: without padding, and without those whose logits include NaN, +infinity or nothing
  /// but -infinity, which choose by their logits alone and touch no other token's choice. The other rows are 0.
  template <class S>
  void transport(Routing<S>& routing, Matrix<S>& p_TE) const {
    balance(routing);
    p_TE.setZero(routing.tokens(), routing.experts());
    const auto& workspace = routing.workspace;
    for (Index t = 0; t < routing.tokens(); ++t)
      if (takes_part(routing, t))
        p_TE.row(t) =
            (distance(routing, t) + workspace.expert_E.transpose()).array().exp() * std::exp(workspace.token_T(t));
  }

 private:
  template <class S>
  static bool takes_part(const Routing<S>& routing, Index t) {
    return routing.is_valid(t) && detail::has_finite_bits(routing.workspace.token2_T(t));
  }

  /// (z - shift) / temperature of a token's logits.
  template <class S>
  auto distance(const Routing<S>& routing, Index t) const {
    return ((routing.selection_logits_TE().row(t).array() - routing.workspace.token2_T(t)) /
            static_cast<S>(temperature))
        .matrix();
  }

  /// P = exp(distance + log b) a: log a into the workspace's token_T, log b into expert_E, the shifts into token2_T,
  /// NaN for a token that takes no part.
  template <class S>
  void balance(Routing<S>& routing) const {
    auto& workspace = routing.workspace;
    workspace.token_T.setZero(routing.tokens());
    workspace.token2_T.resize(routing.tokens());
    workspace.expert2_E.resize(routing.experts());
    Index taking_part = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      const S* logits = routing.selection_logits_TE().row(t).data();
      const bool has_nan = std::any_of(logits, logits + routing.experts(), [](S z) { return detail::has_nan_bits(z); });
      const S largest = detail::largest(logits, routing.experts());
      const bool is_usable = !has_nan && detail::has_finite_bits(largest);
      workspace.token2_T(t) = !is_usable         ? std::numeric_limits<S>::quiet_NaN()
                              : temperature == 1 ? (std::max)(S(0), largest)
                                                 : largest;
      taking_part += takes_part(routing, t) ? 1 : 0;
    }
    const S row_sum = S(1) / static_cast<S>((std::max)(taking_part, Index{1}));
    if (temperature == 1)
      balance_kernel(routing, row_sum);
    else
      balance_logarithms(routing, row_sum);
  }

  /// Rows are shifted by their largest logit, and epsilon with them, so that nothing overflows and P is the same.
  template <class S>
  void balance_kernel(Routing<S>& routing, S row_sum) const {
    const Index experts = routing.experts();
    auto& workspace = routing.workspace;
    Vector<S>&a = workspace.token_T, &b = workspace.expert_E, &column = workspace.expert2_E;
    Buffer<Matrix<S>>& kernel = workspace.rows_TE;  // and each row's epsilon behind it
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
        column += kernel_E.transpose() * a(t);
      }
      S change = 0;
      for (Index e = 0; e < experts; ++e) {
        const S next = column_sum / (column(e) + static_cast<S>(epsilon));
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
    Vector<S>&log_a = workspace.token_T, &log_b = workspace.expert_E, &column = workspace.expert2_E;
    Buffer<Matrix<S>>& p_E = workspace.rows_TE;
    p_E.resize(1, experts);
    log_b.setZero(experts);
    const S share = S(1) / static_cast<S>(experts);
    for (Index round = 0; round < most_rounds; ++round) {
      column.setZero();
      for (Index t = 0; t < routing.tokens(); ++t) {
        if (!takes_part(routing, t)) continue;
        p_E.row(0) = distance(routing, t) + log_b.transpose();
        log_a(t) = std::log(row_sum) - detail::softmax_row(p_E.data(), experts, p_E.data()).log();
        column += row_sum * p_E.row(0).transpose();
      }
      const S distance_left = (column.array() - share).abs().sum();  // the mean of the columns', in shares
      for (Index e = 0; e < experts; ++e)                            // what underflowed grows round by round
        log_b(e) += std::log(share / (std::max)(column(e), (std::numeric_limits<S>::min)()));
      if (!(distance_left > static_cast<S>(tolerance))) break;
    }
  }

  TopK top_k() const { return {.k = k, .weights = ChoiceWeights::probabilities()}; }
};

static_assert(TrainableGate<Sinkhorn, float>);

MOE_NAMESPACE_END
