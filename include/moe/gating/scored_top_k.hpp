// Top-k by scores that need not be a softmax, with a selection bias and limited groups: the gate of DeepSeek-V2 and V3.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/expert_groups.hpp"
#include "moe/gating/score_function.hpp"
#include "moe/gating/scores.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// The k experts with the largest s + selection_bias in the best expert groups, where s are the scores of the logits
/// (DeepSeek-V2 and V3; Megatron-Core, torchtitan, llama.cpp). The scores alone make the weights: the bias is in none.
/// Priority as with TopK.
struct ScoredTopK {
  enum class GroupScore {
    best,        ///< the best of the group's biased scores (DeepSeek-V2)
    best_two,    ///< the sum of its two best (DeepSeek-V3)
    best_share,  ///< the sum of its k / groups_used best (Megatron-Core)
  };

  enum class BiasOn {
    scores,  ///< chosen by s + bias
    logits,  ///< chosen by z + bias, and only among all groups (Megatron-Core's quantile balancing)
  };

  Index k = 2;
  Scores scores = Scores::sigmoid();
  Vector<double> selection_bias_E = {};  ///< Empty: none. No gradient trains it; see moe/optim/bias_update.hpp.
  BiasOn bias_on = BiasOn::scores;
  Index groups = 1;       ///< Each of E / groups neighbouring experts.
  Index groups_used = 1;  ///< Only experts of the best groups_used groups are chosen.
  GroupScore group_score = GroupScore::best_two;
  bool from_each_group = false;  ///< The k / groups best of each group (MoGE: Tang et al. 2025, Pangu Pro).

  Index most_choices(Index) const { return k; }

  void check(Index experts) const {
    require(k >= 1 && k <= experts, "ScoredTopK: k is ", k, ", it must be 1 or more and at most the number of ",
            "experts, ", experts);
    require(groups >= 1 && experts % groups == 0, "ScoredTopK: ", experts, " experts do not divide into ", groups,
            " groups");
    require(groups_used >= 1 && groups_used <= groups, "ScoredTopK: groups_used is ", groups_used,
            ", it must be in 1 .. ", groups);
    require(groups_used * (experts / groups) >= k, "ScoredTopK: ", groups_used, " groups of ", experts / groups,
            " experts cannot offer k = ", k);
    require(counted(experts) <= experts / groups, "ScoredTopK: the group score adds ", counted(experts),
            " experts, a group has ", experts / groups);
    require(selection_bias_E.size() == 0 || selection_bias_E.size() == experts, "ScoredTopK: a bias of ",
            selection_bias_E.size(), " entries for ", experts, " experts");
    require(!from_each_group || (k % groups == 0 && groups_used == groups && bias_on == BiasOn::scores),
            "ScoredTopK: from each of ", groups, " groups, k is ", k, ", groups_used ", groups_used,
            "; k must divide, all groups be used, and a bias lie on the scores");
    require(bias_on == BiasOn::scores || groups_used == groups,
            "ScoredTopK: a bias on logits chooses from all groups, ", "groups_used is ", groups_used, " of ", groups);
    ChoiceWeights(scores).check("ScoredTopK", "with k = 1", k, experts);
  }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    detail::check_route(*this, batch, routing);
    const Index experts = routing.experts(), valid = routing.valid_tokens;
    auto& workspace = routing.workspace;
    workspace.indices.resize(static_cast<std::size_t>((std::max)(experts, groups + experts / groups)));
    workspace.expert_E.resize(experts);  // the keys
    routing.choices_per_token = k;
    routing.choices.resize(static_cast<std::size_t>(valid * k));
    const bool biased = is_biased();
    routing.selects_largest_logits = !biased && groups_used == groups && !from_each_group;
    Scores::begin(routing);
    Index nth = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      scores.measure(routing, t);
      if (!routing.is_valid(t)) continue;
      select(routing, t, biased);
      for (Index rank = 0; rank < k; ++rank) {
        const Index e = workspace.indices[static_cast<std::size_t>(rank)];
        routing.choices[static_cast<std::size_t>(rank * valid + nth)] = {t, e, workspace.rows_TE(t, e),
                                                                         static_cast<int>(rank)};
      }
      ++nth;
    }
    scores.divide(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    scores.backward(routing, drouting);
  }

  /// The bias is saved with a layer.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    if ((... || (self.selection_bias_E.size() > 0))) f("selection_bias", self.selection_bias_E...);
  }

 private:
  /// How many experts a group's score adds up.
  Index counted(Index experts) const {
    if (groups_used == groups || group_score == GroupScore::best) return (std::min)(Index{1}, experts);
    return group_score == GroupScore::best_two ? 2 : (std::max)(Index{1}, k / groups_used);
  }

  /// The same bias for all experts changes nothing.
  bool is_biased() const {
    const auto differs = [this](double bias) { return bias != selection_bias_E[0]; };
    return std::any_of(selection_bias_E.data(), selection_bias_E.data() + selection_bias_E.size(), differs);
  }

  /// Writes the token's k experts, best first, into the workspace's indices. Experts are compared by s + bias, and
  /// equal ones by their logits. Without a bias they are compared by logits alone: these have the order of s, and still
  /// differ where s underflows or rounds to 1.
  template <class S>
  void select(Routing<S>& routing, Index token, bool biased) const {
    const Index experts = routing.experts();
    const S* logits = routing.selection_logits_TE().row(token).data();
    Vector<S>& key_E = routing.workspace.expert_E;
    Index* chosen = routing.workspace.indices.data();
    const bool noisy = routing.noise.drawn;
    if (!biased && groups_used == groups && !from_each_group) return detail::top_k(logits, experts, k, chosen);
    if (bias_on == BiasOn::logits) {
      key_E = routing.selection_logits_TE().row(token).transpose() + selection_bias_E.template cast<S>();
      return detail::top_k(key_E.data(), experts, k, chosen);
    }
    if (noisy) detail::log_score_row(scores.function(), logits, experts, key_E.data());
    if (noisy && biased) detail::exp_row(key_E.data(), experts, key_E.data());
    if (!noisy && biased) key_E = routing.scores_TE.row(token).transpose();
    if (!noisy && !biased) key_E = routing.workspace.rows_TE.row(token).transpose();
    if (biased) key_E += selection_bias_E.template cast<S>();
    if (from_each_group) return select_from_each_group(key_E, logits, chosen);
    if (groups_used < groups)
      detail::mask_groups(key_E, groups, groups_used, counted(experts), biased, routing.workspace.expert2_E,
                          routing.workspace.indices);
    detail::top_k(key_E.data(), experts, k, chosen);
    if (has_ties(key_E, chosen)) select_best(key_E, logits, 0, experts, k, chosen);
  }

  /// Whether equal keys would have to be told apart by logits: among the chosen, or between the last of them and
  /// others.
  template <class S>
  bool has_ties(const Vector<S>& key_E, const Index* chosen) const {
    const auto rank = [&](Index e) { return detail::selection_rank(key_E(e)); };
    for (Index i = 1; i < k; ++i)
      if (rank(chosen[i]) == rank(chosen[i - 1])) return true;
    Index equals = 0;
    for (Index e = 0; e < key_E.size(); ++e) equals += rank(e) == rank(chosen[k - 1]) ? 1 : 0;
    return equals > 1;
  }

  /// Whether expert a comes before b: by its key, of equal ones by its logit, then by its number.
  template <class S>
  static auto comes_before(const Vector<S>& key_E, const S* logits) {
    return [&key_E, logits](Index a, Index b) {
      const auto rank = [](S value) { return detail::selection_rank(value); };
      if (rank(key_E(a)) != rank(key_E(b))) return rank(key_E(a)) > rank(key_E(b));
      return rank(logits[a]) != rank(logits[b]) ? rank(logits[a]) > rank(logits[b]) : a < b;
    };
  }

  /// Writes the `best` experts of first, ..., first + count - 1, of `count` places at `to`.
  template <class S>
  static void select_best(const Vector<S>& key_E, const S* logits, Index first, Index count, Index best, Index* to) {
    std::iota(to, to + count, first);
    std::partial_sort(to, to + best, to + count, comes_before(key_E, logits));
  }

  template <class S>
  void select_from_each_group(const Vector<S>& key_E, const S* logits, Index* chosen) const {
    const Index size = key_E.size() / groups, best = k / groups;
    for (Index g = 0; g < groups; ++g) {
      select_best(key_E, logits, g * size, size, best, chosen + g * size);
      std::copy_n(chosen + g * size, best, chosen + g * best);
    }
    std::sort(chosen, chosen + k, comes_before(key_E, logits));
  }
};

MOE_NAMESPACE_END
