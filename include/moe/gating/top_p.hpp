// Top-p: as many experts as it takes to reach a share of the probability.
#pragma once

#include <cstddef>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Each token chooses the fewest experts, best first, whose probabilities add up to at least p; the first always
/// (Huang et al. 2024, "Harder Tasks Need More Experts"); or the most whose probabilities add up to at most p (BALM),
/// and the first all the same. Priority: by rank, then by token.
struct TopP {
  double p = 0.8;
  Index most = 0;  ///< At most so many experts a token; 0: no limit.
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
    const Index experts = routing.experts(), limit = most > 0 ? most : experts;
    auto& chosen = routing.workspace.indices;
    chosen.resize(static_cast<std::size_t>(limit));
    for (Index t = 0; t < routing.tokens(); ++t) {
      auto p_E = routing.probabilities_TE.row(t);
      detail::softmax_row(routing.weighing_logits_TE().row(t).data(), experts, p_E.data());
      if (!routing.is_valid(t)) continue;
      detail::top_k(routing.selection_logits_TE().row(t).data(), experts, limit, chosen.data());
      S reached = 0;
      for (Index rank = 0; rank < limit; ++rank) {
        const Index e = chosen[static_cast<std::size_t>(rank)];
        const S before = reached;
        reached += p_E(e);
        if (rank > 0 && (stay_below ? !(reached <= static_cast<S>(p)) : before >= static_cast<S>(p))) break;
        routing.choices.push_back({t, e, S(0), static_cast<int>(rank)});
      }
    }
    detail::sort_by_rank(routing.choices);
    weights.weigh(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    weights.backward(routing, drouting);
  }
};

static_assert(TrainableGate<TopP, float>);

MOE_NAMESPACE_END
