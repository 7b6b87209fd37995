// Threshold gating: every expert with a score that is high enough. The number of experts differs from token to token.
#pragma once

#include <cstddef>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// All experts with sigmoid(logit) > threshold, weighed with sigmoid(logit); if there are none, the best one (DynMoE's
/// top-any gating, Guo et al. 2024, without its straight-through step). A Router with a bias learns a threshold for
/// each expert, since sigmoid(z - b) > 1/2 where z > b. Priority: by token, then by expert.
struct Threshold {
  double threshold = 0.5;
  bool at_least_one = true;

  void check(Index) const {
    require(threshold >= 0 && threshold < 1, "Threshold: threshold is ", threshold, ", it must be in [0, 1)");
  }

  bool choices_differ() const { return true; }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    detail::check_route(*this, batch, routing);
    // Logits are compared, since the sigmoids of very different logits may all be 0 or 1.
    const S bound = static_cast<S>(std::log(threshold) - std::log1p(-threshold));
    for (Index t = 0; t < routing.tokens(); ++t) {
      const S* logits = routing.selection_logits_TE().row(t).data();
      routing.set_probabilities(t);
      if (!routing.is_valid(t)) continue;
      Index best = 0;
      detail::top_k(logits, routing.experts(), Index{1}, &best);
      const std::size_t before = routing.choices.size();
      for (Index e = 0; e < routing.experts(); ++e)
        if (logits[e] > bound) routing.choices.push_back({t, e, S(0), e == best ? 0 : 1});
      if (at_least_one && routing.choices.size() == before) routing.choices.push_back({t, best, S(0), 0});
    }
    ChoiceWeights::sigmoid().weigh(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    ChoiceWeights::sigmoid().backward(routing, drouting);
  }
};

MOE_NAMESPACE_END
