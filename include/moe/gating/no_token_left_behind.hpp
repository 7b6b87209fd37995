// Rerouting: a choice of a full expert goes to the token's next best expert that has a free slot.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/capacity.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// A TopK with ChoiceWeights::probabilities(), served in rounds (Fedus et al. 2021, appendix B, "No-Token-Left-Behind";
/// Mesh TensorFlow). In the first round every choice goes to its own expert, in order of priority. A choice whose
/// expert was full goes, in the next round, to the token's next best expert, with the probability of that one as
/// weight, and so on. Slots of an earlier round are never taken away. A choice for which no expert is left stays as it
/// was, and is dropped. `capacity` must be the layer's.
struct NoTokenLeftBehind {
  TopK top_k = {.k = 1, .weights = ChoiceWeights::probabilities()};
  Capacity capacity = Capacity::factor(1);
  Index attempts = 0;  ///< How many experts are tried for a choice, its own included (moe_switch_top_k of
                       ///< Mesh TensorFlow); 0: all.

  void check(Index experts) const {
    top_k.check(experts);
    require(top_k.weights.are_probabilities(),
            "NoTokenLeftBehind: the weights must be ChoiceWeights::probabilities(), which do not change when "
            "another of the token's choices does");
    require(attempts >= 0, "NoTokenLeftBehind: attempts is ", attempts, ", it must be 0 (all) or more");
  }

  Index most_choices(Index) const { return top_k.k; }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    detail::check_route(*this, batch, routing);
    top_k.route(batch, routing, random);
    routing.selects_largest_logits = false;
    const Index experts = routing.experts(), groups = batch.groups();
    // the tokens of each group; free slots by group and expert; choices without a slot, each with the expert tried last
    std::vector<Index>& indices = routing.workspace.indices;
    // enough for all choices, so that no later batch allocates
    indices.reserve(at(groups * (1 + experts)) + 2 * routing.choices.size());
    indices.assign(at(groups * (1 + experts)), 0);
    for (Index t = 0; t < routing.tokens(); ++t) indices[at(batch.group_of(t))] += routing.is_valid(t) ? 1 : 0;
    for (Index g = 0; g < groups; ++g) {
      const Index tokens = indices[at(g)];
      const Index slots = capacity.slots(tokens, tokens * top_k.k, experts, random != nullptr);
      std::fill_n(indices.begin() + groups + g * experts, experts, slots);
    }
    for (Index i = 0; i < static_cast<Index>(routing.choices.size()); ++i) {
      const Choice<S>& c = routing.choices[at(i)];
      Index& free = indices[at(groups + batch.group_of(c.token) * experts + c.expert)];
      if (free > 0)
        --free;
      else
        indices.insert(indices.end(), {i, last_chosen(routing, i)});
    }
    reroute(batch, routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    top_k.backward(routing, drouting);
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }

  /// The last of the experts that the token of this choice chose: the best one after it is tried next.
  template <class S>
  Index last_chosen(const Routing<S>& routing, Index choice) const {
    const Index valid = routing.valid_tokens;
    return routing.choices[at((top_k.k - 1) * valid + choice % valid)].expert;
  }

  /// The expert after `tried` in the order of detail::top_k.
  template <class S>
  static Index next_best(const S* logits, Index experts, Index tried) {
    const auto above = detail::selection_rank(logits[tried]);
    auto best_rank = above;
    Index best = -1;
    for (Index e = 0; e < experts; ++e) {
      const auto rank = detail::selection_rank(logits[e]);
      if (rank > above || (rank == above && e <= tried) || (best >= 0 && rank <= best_rank)) continue;
      best = e;
      best_rank = rank;
    }
    return best;
  }

  /// The rounds after the first.
  template <class S>
  void reroute(const Batch<S>& batch, Routing<S>& routing) const {
    const Index experts = routing.experts(), known = batch.groups() * (1 + experts);
    std::vector<Index>& indices = routing.workspace.indices;
    const Index end = static_cast<Index>(indices.size());
    Index* free_GE = indices.data() + batch.groups();
    Buffer<Matrix<S>>& has_TE = routing.workspace.rows_TE;  // 1: another choice of the token was sent to the expert
    has_TE.resize(routing.tokens(), experts);
    for (Index w = known; w < end; w += 2) has_TE.row(routing.choices[at(indices[at(w)])].token).setZero();
    const Index last = attempts == 0 ? experts : (std::min)(experts, top_k.k - 1 + attempts);
    for (Index place = top_k.k; place < last; ++place)
      for (Index w = known; w < end; w += 2) {
        Index &choice = indices[at(w)], &tried = indices[at(w + 1)];
        if (choice < 0) continue;
        Choice<S>& c = routing.choices[at(choice)];
        tried = next_best(routing.selection_logits_TE().row(c.token).data(), experts, tried);
        Index& free = free_GE[batch.group_of(c.token) * experts + tried];
        if (free == 0 || has_TE(c.token, tried) != S(0)) continue;
        --free;
        has_TE(c.token, tried) = S(1);
        c.expert = tried;
        c.weight = routing.probabilities_TE(c.token, tried);
        choice = -1;
      }
  }
};

MOE_NAMESPACE_END
