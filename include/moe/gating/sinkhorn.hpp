// Sinkhorn routing: top-k of a balanced transport plan.
#pragma once

#include <cmath>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/gating/transport.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// In training (with a generator) the choices are the top-k of a transport plan P, which gives every expert an equal
/// share (Clark et al. 2022; Megatron-Core); P and its iteration are in moe/gating/transport.hpp. P has no gradient. In
/// evaluation the choices are the top-k of the logits. Weights: sigmoid(logit) for k = 1, else softmax over all
/// experts, as it is. It is meant to be used without balance losses.
struct Sinkhorn {
  Index k = 1;
  double tolerance = 1e-4;
  double epsilon = 1e-8;  ///< Used at temperature 1 alone.
  Index most_rounds = 1000;
  double temperature = 1;  ///< Of P, not of the weights: its entropic regularisation (lingvo: 0.1, with 50 rounds).

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
      const detail::Transport plan = transport_plan();
      plan.balance(routing);
      for (Index t = 0; t < routing.tokens(); ++t) {
        if (plan.takes_part(routing, t))
          key_TE.row(t) = plan.distance(routing, t) + routing.workspace.expert_E.transpose();
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

  /// P, for tests and inspection; the rows of tokens that take no part are 0.
  template <class S>
  void transport(Routing<S>& routing, Matrix<S>& p_TE) const {
    const detail::Transport plan = transport_plan();
    plan.balance(routing);
    p_TE.setZero(routing.tokens(), routing.experts());
    const auto& workspace = routing.workspace;
    for (Index t = 0; t < routing.tokens(); ++t)
      if (plan.takes_part(routing, t))
        p_TE.row(t) =
            (plan.distance(routing, t) + workspace.expert_E.transpose()).array().exp() * std::exp(workspace.token_T(t));
  }

 private:
  detail::Transport transport_plan() const { return {tolerance, epsilon, most_rounds, temperature}; }
  TopK top_k() const { return {.k = k, .weights = ChoiceWeights::probabilities()}; }
};

MOE_NAMESPACE_END
