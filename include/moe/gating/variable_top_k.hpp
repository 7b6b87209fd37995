// Top-k with a k for each token.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Token t chooses its k_T[t] best experts, none where that is 0; the weights are those of TopK. So Mesh TensorFlow
/// sends a token to two experts or to one within a second level, as it was the first or second choice of the first.
/// Priority: by rank, then by token.
struct VariableTopK {
  std::vector<Index> k_T;  ///< One for each row of the present batch, padding too; no file holds them.
  ChoiceWeights weights = ChoiceWeights::softmax_of_chosen();

  bool choices_differ() const { return true; }
  Index most_choices(Index experts) const { return k_T.empty() ? experts : *std::max_element(k_T.begin(), k_T.end()); }

  void check(Index experts) const {
    weights.check("VariableTopK", "where no k is more than 1", most_choices(experts), experts);
    for (std::size_t t = 0; t < k_T.size(); ++t)
      require(k_T[t] >= 0 && k_T[t] <= experts, "VariableTopK: k of token ", t, " is ", k_T[t], ", it must be in 0 .. ",
              experts);
  }

  /// Throws std::invalid_argument unless there is one k for each token.
  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    routing.check(batch);
    const Index experts = routing.experts();
    require(std::cmp_equal(k_T.size(), routing.tokens()), "VariableTopK: ", k_T.size(), " k for ", routing.tokens(),
            " tokens");
    auto& chosen = routing.workspace.indices;
    chosen.resize(static_cast<std::size_t>(experts));
    for (Index t = 0; t < routing.tokens(); ++t) {
      detail::softmax_row(routing.weighing_logits_TE().row(t).data(), experts, routing.probabilities_TE.row(t).data());
      if (!routing.is_valid(t)) continue;
      const Index k = k_T[static_cast<std::size_t>(t)];
      require(k >= 0 && k <= experts, "VariableTopK: k of token ", batch.number_of(t), " is ", k,
              ", it must be in 0 .. ", experts);
      detail::top_k(routing.selection_logits_TE().row(t).data(), experts, k, chosen.data());
      for (Index rank = 0; rank < k; ++rank)
        routing.choices.push_back({t, chosen[static_cast<std::size_t>(rank)], S(0), static_cast<int>(rank)});
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

static_assert(TrainableGate<VariableTopK, float>);

MOE_NAMESPACE_END
