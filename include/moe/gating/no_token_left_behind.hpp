// Rerouting: a choice that finds no room goes to the token's next best expert that has some.
#pragma once

#include <cstddef>
#include <vector>

#include "moe/batch.hpp"
#include "moe/capacity.hpp"
#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/kernel/buffer.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// A TopK with ChoiceWeights::probabilities whose choices are served in order of priority; one that finds its expert
/// full goes, with that expert's probability as weight, to the most probable expert that has room and that the token
/// does not have yet (Fedus et al. 2021, appendix B, "No-Token-Left-Behind"). A choice for which no expert is left
/// stays as it was and is dropped. `capacity` must be the layer's.
struct NoTokenLeftBehind {
  TopK top_k = {.k = 1, .weights = ChoiceWeights::probabilities};
  Capacity capacity = Capacity::factor(1);

  void check(Index experts) const {
    top_k.check(experts);
    detail::require(top_k.weights == ChoiceWeights::probabilities,
                    "NoTokenLeftBehind: the weights must be ChoiceWeights::probabilities, which do not change when "
                    "another of the token's choices does");
  }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    top_k.route(batch, routing, random);
    const Index experts = routing.experts();
    const auto at = [](Index i) { return static_cast<std::size_t>(i); };
    const Index groups = batch.groups();
    std::vector<Index>& indices = routing.workspace.indices;
    indices.assign(at(groups * experts + groups + experts), 0);
    Index *room = indices.data(), *tokens = room + groups * experts, *order = tokens + groups;
    for (Index t = 0; t < routing.tokens(); ++t) tokens[batch.group_of(t)] += routing.is_valid(t) ? 1 : 0;
    for (Index g = 0; g < groups; ++g)
      for (Index e = 0; e < experts; ++e)
        room[g * experts + e] = capacity.slots(tokens[g], tokens[g] * top_k.k, experts, random != nullptr);
    Buffer<Matrix<S>>& has_TE = routing.workspace.rows_TE;  // 1: the token has the expert
    has_TE.resize(routing.tokens(), experts);
    has_TE.setZero();
    for (const Choice<S>& c : routing.choices) has_TE(c.token, c.expert) = S(1);

    for (Choice<S>& c : routing.choices) {
      Index* free = room + batch.group_of(c.token) * experts;
      if (free[c.expert] == 0) {
        detail::top_k(routing.selection_logits_TE().row(c.token).data(), experts, experts, order);
        for (Index place = 0; place < experts; ++place) {
          const Index e = order[place];
          if (free[e] == 0 || has_TE(c.token, e) != S(0)) continue;
          has_TE(c.token, c.expert) = S(0);
          has_TE(c.token, e) = S(1);
          c.expert = e;
          c.weight = routing.probabilities_TE(c.token, e);
          break;
        }
      }
      if (free[c.expert] > 0) --free[c.expert];
    }
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    top_k.backward(routing, drouting);
  }
};

static_assert(TrainableGate<NoTokenLeftBehind, float>);

MOE_NAMESPACE_END
