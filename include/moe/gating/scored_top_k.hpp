// Top-k by scores that need not be a softmax, with a selection bias and limited groups: the gate of DeepSeek-V2 and V3.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "moe/batch.hpp"
#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/scores.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// The k experts of the largest s + selection_bias among the best groups, s = score(logits), weighed by Scores, of s
/// alone: the bias never enters a weight. Priority as with TopK.
struct ScoredTopK {
  using Score = Scores::Score;
  enum class GroupScore {
    best,        ///< of the group's biased scores (DeepSeek-V2)
    best_two,    ///< sum of its two best (DeepSeek-V3)
    best_share,  ///< sum of its k / groups_used best (Megatron-Core)
  };

  Index k = 2;
  Score score = Score::sigmoid;
  Vector<double> selection_bias_E = {};  ///< Empty: none. Not trained by gradients; see moe/gating/bias_update.hpp.
  bool normalize = true;
  double epsilon = 1e-20;
  Epsilon epsilon_is = Epsilon::added;  ///< llama.cpp: a floor, 6.1035e-5.
  double scale = 1;                     ///< DeepSeek's routed_scaling_factor.
  Index groups = 1;                     ///< Of E / groups neighbouring experts each.
  Index groups_used = 1;                ///< Experts outside the best groups_used groups rank as -infinity.
  GroupScore group_score = GroupScore::best_two;

  void check(Index experts) const {
    detail::require(k >= 1 && k <= experts, "ScoredTopK: k is ", k, ", it must be 1 or more and at most the number of ",
                    "experts, ", experts);
    detail::require(groups >= 1 && experts % groups == 0, "ScoredTopK: ", experts, " experts do not divide into ",
                    groups, " groups");
    detail::require(groups_used >= 1 && groups_used <= groups, "ScoredTopK: groups_used is ", groups_used,
                    ", it must be in 1 .. ", groups);
    detail::require(groups_used * (experts / groups) >= k, "ScoredTopK: ", groups_used, " groups of ", experts / groups,
                    " experts cannot offer k = ", k);
    detail::require(counted(experts) <= experts / groups, "ScoredTopK: the group score adds ", counted(experts),
                    " experts, a group has ", experts / groups);
    detail::require(selection_bias_E.size() == 0 || selection_bias_E.size() == experts, "ScoredTopK: a bias of ",
                    selection_bias_E.size(), " entries for ", experts, " experts");
    scores().check("ScoredTopK");
    detail::require(
        k > 1 || experts == 1 || !normalize,
        "ScoredTopK: with k = 1 the normalised weight is always the same and the router learns nothing from "
        "the task; set normalize = false");
  }

  template <class S>
  void route(const Batch<S>&, Routing<S>& routing, Random*) const {
    const Index experts = routing.experts(), valid = routing.valid_tokens;
    auto& workspace = routing.workspace;
    workspace.indices.resize(static_cast<std::size_t>(k + groups + experts / groups));
    workspace.expert_E.resize(experts);  // what is selected by
    routing.choices_per_token = k;
    routing.choices.resize(static_cast<std::size_t>(valid * k));
    routing.scores_TE.resize(routing.tokens(), experts);
    Index nth = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      scores().measure(routing, t);
      if (!routing.is_valid(t)) continue;
      if (routing.noise.drawn)
        scores().score_row(routing.selection_logits_TE().row(t).data(), experts, workspace.expert_E.data());
      else
        workspace.expert_E = routing.scores_TE.row(t).transpose();
      if (selection_bias_E.size() > 0) workspace.expert_E += selection_bias_E.template cast<S>();
      if (groups_used < groups) mask_groups(workspace.expert_E, workspace.expert2_E, workspace.indices);
      detail::top_k(workspace.expert_E.data(), experts, k, workspace.indices.data());
      for (Index rank = 0; rank < k; ++rank) {
        const Index e = workspace.indices[static_cast<std::size_t>(rank)];
        routing.choices[static_cast<std::size_t>(rank * valid + nth)] = {t, e, routing.scores_TE(t, e),
                                                                         static_cast<int>(rank)};
      }
      ++nth;
    }
    scores().divide(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    scores().backward(routing, drouting);
  }

  /// The bias is state: it is saved with a layer, and learned without gradients.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    if ((... || (self.selection_bias_E.size() > 0))) f("selection_bias", self.selection_bias_E...);
  }

 private:
  Scores scores() const { return {score, normalize, epsilon, epsilon_is, scale}; }

  /// How many experts of a group its score adds up.
  Index counted(Index experts) const {
    if (groups_used == groups || group_score == GroupScore::best) return (std::min)(Index{1}, experts);
    return group_score == GroupScore::best_two ? 2 : (std::max)(Index{1}, k / groups_used);
  }

  /// -infinity for the experts outside the best groups.
  template <class S>
  void mask_groups(Vector<S>& select_E, Vector<S>& total, std::vector<Index>& indices) const {
    const Index size = select_E.size() / groups, add = counted(select_E.size());
    Index* best = indices.data();   // of one group; then the best groups
    total.resize(select_E.size());  // as its other users do; `groups` of them are read
    for (Index g = 0; g < groups; ++g) {
      detail::top_k(select_E.data() + g * size, size, add, best);
      total(g) = 0;
      for (Index i = 0; i < add; ++i) total(g) += select_E(g * size + best[i]);
    }
    detail::top_k(total.data(), groups, groups_used, best);
    for (Index g = 0; g < groups; ++g)
      if (std::find(best, best + groups_used, g) == best + groups_used)
        select_E.segment(g * size, size).setConstant(-std::numeric_limits<S>::infinity());
  }
};

static_assert(TrainableGate<ScoredTopK, float>);

MOE_NAMESPACE_END
