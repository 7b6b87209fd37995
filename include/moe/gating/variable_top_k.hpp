// Top-k with a k for each token.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/choose_best.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Token t chooses its k_T[t] best experts, none if that is 0. In the second of two levels, Mesh TensorFlow sends a
/// token that was a first choice of the first level to two experts, and one that was a second choice to one. Priority:
/// by rank, then by token.
struct VariableTopK {
  std::vector<Index> k_T;  ///< One for each row of the batch, padding too. They are not saved in files.
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
    const auto k_of = [&](Index t) {
      const Index k = k_T[static_cast<std::size_t>(t)];
      require(k >= 0 && k <= experts, "VariableTopK: k of token ", batch.number_of(t), " is ", k,
              ", it must be in 0 .. ", experts);
      return k;
    };
    detail::choose_best(routing, k_of, [&](Index t, const Index*) { return k_of(t); });
    weights.weigh(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    weights.backward(routing, drouting);
  }
};

MOE_NAMESPACE_END
