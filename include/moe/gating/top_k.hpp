// Top-k: every token chooses its k best experts. With k = 1 and probabilities as weights this is the Switch gate, with
// k = 2 and probabilities that are divided by their sum Mixtral's, with k = E the dense mixture.
#pragma once

#include <cstddef>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// The k experts with the largest logits (Shazeer et al. 2017). Logits are compared, not probabilities, since these may
/// underflow and be equal; of equal logits the lower index wins. Priority: all first choices in order of tokens, then
/// all second choices, and so on.
struct TopK {
  Index k = 2;
  ChoiceWeights weights = ChoiceWeights::softmax_of_chosen();

  Index most_choices(Index) const { return k; }

  /// Throws std::invalid_argument unless k is in 1 .. E, or if k = 1 and the weights would always be 1.
  void check(Index experts) const {
    require(k >= 1 && k <= experts, "TopK: k is ", k, ", it must be 1 or more and at most the number of experts, ",
            experts);
    weights.check("TopK", "with k = 1", k, experts);
  }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    detail::check_route(*this, batch, routing);
    choose(routing, routing.selection_logits_TE());
    weights.weigh(routing);
  }

  /// Makes the choices by any keys (T, E), and the probabilities. The weights are left to the caller.
  template <class S, class Keys>
  void choose(Routing<S>& routing, const Keys& key_TE) const {
    check(routing.experts());
    require_shape("TopK: the keys", key_TE, routing.tokens(), routing.experts());
    const Index experts = routing.experts(), valid = routing.valid_tokens;
    auto& chosen = routing.workspace.indices;
    chosen.resize(static_cast<std::size_t>(k));
    routing.choices_per_token = k;
    routing.choices.resize(static_cast<std::size_t>(valid * k));
    Index nth = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      routing.set_probabilities(t);
      if (!routing.is_valid(t)) continue;
      detail::top_k(detail::row_at(key_TE, t), experts, k, chosen.data());
      for (Index rank = 0; rank < k; ++rank)
        routing.choices[static_cast<std::size_t>(rank * valid + nth)] = {t, chosen[static_cast<std::size_t>(rank)],
                                                                         S(0), static_cast<int>(rank)};
      ++nth;
    }
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    weights.backward(routing, drouting);
  }
};

MOE_NAMESPACE_END
