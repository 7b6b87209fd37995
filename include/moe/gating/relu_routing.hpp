// ReLU routing: a logit above 0 is a choice and its weight, and the router's gradient has no jump.
#pragma once

#include <algorithm>
#include <cstddef>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// All experts with logit > 0, weighed with max(logit, 0); a token may have none (ReMoE, Wang et al. 2024, arXiv
/// 2412.14711). How many they are is held near k by ReluBalanceLoss with SparsityControl. Without a bias
/// of the router, about half of all logits are above 0 where the tokens have a mean of 0. The probabilities, for other
/// losses, are the softmax of the logits. Priority: by token, then by expert.
struct ReluRouting {
  void check(Index) const {}

  bool choices_differ() const { return true; }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    detail::check_route(*this, batch, routing);
    for (Index t = 0; t < routing.tokens(); ++t) {
      const S *logits = routing.selection_logits_TE().row(t).data(),
              *weights = routing.weighing_logits_TE().row(t).data();
      routing.set_probabilities(t);
      if (!routing.is_valid(t)) continue;
      Index best = 0;
      detail::top_k(logits, routing.experts(), Index{1}, &best);
      for (Index e = 0; e < routing.experts(); ++e)
        if (logits[e] > 0) routing.choices.push_back({t, e, (std::max)(weights[e], S(0)), e == best ? 0 : 1});
    }
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& choice = routing.choices[i];
      if (choice.weight > 0) drouting.weighing_logits_TE()(choice.token, choice.expert) += drouting.choices[i].weight;
    }
    ChoiceWeights::uniform().backward(routing, drouting);  // of the probabilities
  }
};

MOE_NAMESPACE_END
