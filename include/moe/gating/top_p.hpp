// Top-p: as many experts as are needed to reach a share of the probability.
#pragma once

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/choose_best.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Each token chooses the fewest experts, best first, whose probabilities add up to at least p (Huang et al. 2024,
/// "Harder Tasks Need More Experts"), or, with `stay_below`, the most whose probabilities add up to at most p (BALM).
/// The first is always chosen. Priority: by rank, then by token.
struct TopP {
  double p = 0.8;
  Index most = 0;  ///< The largest number of experts for a token; 0: no limit.
  ChoiceWeights weights = ChoiceWeights::probabilities();
  bool stay_below = false;  ///< At most p instead of at least p.

  bool choices_differ() const { return true; }
  Index most_choices(Index experts) const { return most > 0 ? most : experts; }

  void check(Index experts) const {
    require(p > 0 && p <= 1, "TopP: p is ", p, ", it must be in (0, 1]");
    require(most >= 0 && most <= experts, "TopP: most is ", most, ", it must be 0 (no limit) .. ", experts);
    weights.check("TopP", "with most = 1", most_choices(experts), experts);
  }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    detail::check_route(*this, batch, routing);
    const Index limit = most_choices(routing.experts());
    const auto taken = [&](Index t, const Index* best) {
      const auto p_E = routing.probabilities_TE.row(t);
      S reached = 0;
      for (Index rank = 0; rank < limit; ++rank) {
        const S before = reached;
        reached += p_E(best[rank]);
        if (rank > 0 && (stay_below ? !(reached <= static_cast<S>(p)) : before >= static_cast<S>(p))) return rank;
      }
      return limit;
    };
    detail::choose_best(
        routing, [limit](Index) { return limit; }, taken);
    weights.weigh(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    weights.backward(routing, drouting);
  }
};

MOE_NAMESPACE_END
