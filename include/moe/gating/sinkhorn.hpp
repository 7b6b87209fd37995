// Sinkhorn routing: top-k of a balanced transport plan.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "moe/batch.hpp"
#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/sigmoid_weights.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/kernel/buffer.hpp"
#include "moe/kernel/softmax.hpp"
#include "moe/routing.hpp"

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
    detail::require(k >= 1 && k <= experts, "Sinkhorn: k is ", k,
                    ", it must be 1 or more and at most the number of experts, ", experts);
    detail::require_temperature("Sinkhorn", temperature);
    detail::require(tolerance > 0 && epsilon >= 0 && most_rounds > 0, "Sinkhorn: tolerance ", tolerance, ", epsilon ",
                    epsilon, ", most_rounds ", most_rounds, ": they must be more than 0, at least 0, more than 0");
  }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    if (random != nullptr) {  // what the top-k gate then selects by, without weighing
      routing.noise.drawn = true;
      routing.noise.weighs = false;
      routing.noise.logits_TE.resize(routing.tokens(), routing.experts());
      routing.noise.stddev_TE.setZero(routing.tokens(), routing.experts());
      scale(routing, routing.noise.logits_TE);
    }
    top_k().route(batch, routing, random);
    if (k == 1) detail::weigh_by_sigmoid(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    if (k > 1) return top_k().backward(routing, drouting);
    detail::weigh_by_sigmoid_backward(routing, drouting);
    detail::Weighing{ChoiceWeights::uniform}.backward(routing, drouting);
  }

  /// P for the tokens that are not padding (rows of padding are 0).
  template <class S>
  void transport(Routing<S>& routing, Matrix<S>& p_TE) const {
    scale(routing, p_TE);
    if (temperature == 1) return;
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (routing.is_valid(t))
        p_TE.row(t) = p_TE.row(t).array().exp();
      else
        p_TE.row(t).setZero();
    }
  }

 private:
  /// P, or its logarithm, whose order no underflow hides.
  template <class S>
  void scale(Routing<S>& routing, Matrix<S>& plan_TE) const {
    if (temperature == 1)
      scale_kernel(routing, plan_TE);
    else
      scale_logarithms(routing, plan_TE);
  }

  /// Rows are shifted by their largest logit, and epsilon with them, so that nothing overflows and P is the same.
  template <class S>
  void scale_kernel(Routing<S>& routing, Matrix<S>& p_TE) const {
    const Index experts = routing.experts();
    auto& workspace = routing.workspace;
    Vector<S>&a = workspace.token_T, &b = workspace.expert_E, &column = workspace.expert2_E;
    Vector<S>& epsilon_T = workspace.token2_T;
    Buffer<Matrix<S>>& kernel = workspace.rows_TE;
    a.setZero(routing.tokens());
    b.setOnes(experts);
    column.resize(experts);
    epsilon_T.resize(routing.tokens());
    kernel.resize(routing.tokens(), experts);
    kernel.setZero();
    p_TE.resize(routing.tokens(), experts);
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t)) continue;
      const S shift = (std::max)(S(0), detail::largest(routing.logits_TE.row(t).data(), experts));
      kernel.row(t) = (routing.logits_TE.row(t).array() - shift).exp();
      epsilon_T(t) = static_cast<S>(epsilon) * std::exp(-shift);
    }
    const S row_sum = S(1) / static_cast<S>((std::max)(routing.valid_tokens, Index{1}));
    const S column_sum = S(1) / static_cast<S>(experts);
    for (Index round = 0; round < most_rounds; ++round) {
      column.setZero();
      for (Index t = 0; t < routing.tokens(); ++t) {
        if (!routing.is_valid(t)) continue;
        a(t) = row_sum / (kernel.row(t).dot(b) + epsilon_T(t));
        column += kernel.row(t).transpose() * a(t);
      }
      S change = 0;
      for (Index e = 0; e < experts; ++e) {
        const S next = column_sum / (column(e) + static_cast<S>(epsilon));
        change += std::abs(next - b(e)) / static_cast<S>(experts);
        b(e) = next;
      }
      if (!(change > static_cast<S>(tolerance))) break;
    }
    for (Index t = 0; t < routing.tokens(); ++t) p_TE.row(t) = a(t) * kernel.row(t).cwiseProduct(b.transpose());
  }

  /// The same iteration: a round makes rows even by a softmax of z + log b, then log b += log(share / column).
  template <class S>
  void scale_logarithms(Routing<S>& routing, Matrix<S>& log_p_TE) const {
    const Index experts = routing.experts();
    auto& workspace = routing.workspace;
    Vector<S>&log_a = workspace.token_T, &log_b = workspace.expert_E, &column = workspace.expert2_E;
    Buffer<Matrix<S>>& z_TE = workspace.rows_TE;
    z_TE.resize(routing.tokens(), experts);
    log_p_TE.resize(routing.tokens(), experts);
    for (Index t = 0; t < routing.tokens(); ++t) {  // less the largest, of which a small temperature makes no infinity
      const S shift = detail::largest(routing.logits_TE.row(t).data(), experts);
      z_TE.row(t) = (routing.logits_TE.row(t).array() - shift) / static_cast<S>(temperature);
    }
    log_a.setZero(routing.tokens());
    log_b.setZero(experts);
    column.resize(experts);
    const S row_sum = S(1) / static_cast<S>((std::max)(routing.valid_tokens, Index{1}));
    const S share = S(1) / static_cast<S>(experts);
    for (Index round = 0; round < most_rounds; ++round) {
      column.setZero();
      for (Index t = 0; t < routing.tokens(); ++t) {
        if (!routing.is_valid(t)) continue;
        auto p_E = log_p_TE.row(t);
        p_E = z_TE.row(t) + log_b.transpose();
        log_a(t) = std::log(row_sum) - detail::softmax_row(p_E.data(), experts, p_E.data()).log();
        column += row_sum * p_E.transpose();
      }
      const S distance = (column.array() - share).abs().sum();  // the mean of the columns', in shares
      for (Index e = 0; e < experts; ++e)                       // what underflowed grows round by round
        log_b(e) += std::log(share / (std::max)(column(e), (std::numeric_limits<S>::min)()));
      if (!(distance > static_cast<S>(tolerance))) break;
    }
    for (Index t = 0; t < routing.tokens(); ++t) log_p_TE.row(t) = (z_TE.row(t) + log_b.transpose()).array() + log_a(t);
  }

  TopK top_k() const { return {.k = k, .weights = ChoiceWeights::probabilities}; }
};

static_assert(TrainableGate<Sinkhorn, float>);

MOE_NAMESPACE_END
