// Top-k by scores that need not be a softmax, with a selection bias and limited groups: the gate of DeepSeek-V2 and V3.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/score_function.hpp"
#include "moe/gating/scores.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// The k experts of the largest s + selection_bias among the best groups, s = score(logits), weighed by Scores, of s
/// alone: the bias never enters a weight. Priority as with TopK.
struct ScoredTopK {
  enum class GroupScore {
    best,        ///< of the group's biased scores (DeepSeek-V2)
    best_two,    ///< sum of its two best (DeepSeek-V3)
    best_share,  ///< sum of its k / groups_used best (Megatron-Core)
  };

  Index k = 2;
  Scores scores = Scores::sigmoid();
  Vector<double> selection_bias_E = {};  ///< Empty: none. Not trained by gradients; see moe/optim/bias_update.hpp.
  Index groups = 1;                      ///< Of E / groups neighbouring experts each.
  Index groups_used = 1;                 ///< Experts outside the best groups_used groups rank as -infinity.
  GroupScore group_score = GroupScore::best_two;

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
    ChoiceWeights(scores).check("ScoredTopK", "with k = 1", k, experts);
  }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    detail::check_route(*this, batch, routing);
    const Index experts = routing.experts(), valid = routing.valid_tokens;
    auto& workspace = routing.workspace;
    workspace.indices.resize(static_cast<std::size_t>((std::max)(experts, groups + experts / groups)));
    workspace.expert_E.resize(experts);  // what is selected by
    routing.choices_per_token = k;
    routing.choices.resize(static_cast<std::size_t>(valid * k));
    const bool biased = is_biased();
    routing.selects_largest_logits = !biased && groups_used == groups;
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

  /// The bias is state: it is saved with a layer, and learned without gradients.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    if ((... || (self.selection_bias_E.size() > 0))) f("selection_bias", self.selection_bias_E...);
  }

 private:
  /// How many experts of a group its score adds up.
  Index counted(Index experts) const {
    if (groups_used == groups || group_score == GroupScore::best) return (std::min)(Index{1}, experts);
    return group_score == GroupScore::best_two ? 2 : (std::max)(Index{1}, k / groups_used);
  }

  /// The same bias for all experts changes nothing.
  bool is_biased() const {
    return selection_bias_E.size() > 0 && selection_bias_E.minCoeff() != selection_bias_E.maxCoeff();
  }

  /// The token's k experts, best first, in the workspace's indices. Experts are compared by s + bias and, of equals, by
  /// logit; without a bias by logit alone, which is the order of s and shows it where s underflows or rounds to 1.
  template <class S>
  void select(Routing<S>& routing, Index token, bool biased) const {
    const Index experts = routing.experts();
    const S* logits = routing.selection_logits_TE().row(token).data();
    Vector<S>& key_E = routing.workspace.expert_E;
    Index* chosen = routing.workspace.indices.data();
    const bool noisy = routing.noise.drawn;
    if (!biased && groups_used == groups) return detail::top_k(logits, experts, k, chosen);
    if (noisy) detail::log_score_row(scores.function(), logits, experts, key_E.data());
    if (noisy && biased) detail::exp_row(key_E.data(), experts, key_E.data());
    if (!noisy && biased) key_E = routing.scores_TE.row(token).transpose();
    if (!noisy && !biased) key_E = routing.workspace.rows_TE.row(token).transpose();
    if (biased) key_E += selection_bias_E.template cast<S>();
    if (groups_used < groups) mask_groups(biased, key_E, routing.workspace.expert2_E, routing.workspace.indices);
    detail::top_k(key_E.data(), experts, k, chosen);
    if (has_ties(key_E, chosen)) break_ties(key_E, logits, routing.workspace.indices);
  }

  /// Whether the logits could tell equals apart, among the chosen or between the last of these and the others.
  template <class S>
  bool has_ties(const Vector<S>& key_E, const Index* chosen) const {
    const auto rank = [&](Index e) { return detail::selection_rank(key_E(e)); };
    for (Index i = 1; i < k; ++i)
      if (rank(chosen[i]) == rank(chosen[i - 1])) return true;
    Index equals = 0;
    for (Index e = 0; e < key_E.size(); ++e) equals += rank(e) == rank(chosen[k - 1]) ? 1 : 0;
    return equals > 1;
  }

  template <class S>
  void break_ties(const Vector<S>& key_E, const S* logits, std::vector<Index>& indices) const {
    std::iota(indices.begin(), indices.begin() + key_E.size(), Index{0});
    const auto rank = [](S value) { return detail::selection_rank(value); };
    std::partial_sort(indices.begin(), indices.begin() + k, indices.begin() + key_E.size(), [&](Index a, Index b) {
      if (rank(key_E(a)) != rank(key_E(b))) return rank(key_E(a)) > rank(key_E(b));
      return rank(logits[a]) != rank(logits[b]) ? rank(logits[a]) > rank(logits[b]) : a < b;
    });
  }

  /// -infinity for the experts outside the best groups, and a finite number for those inside. Keys are s + bias, whose
  /// sums are compared, or, without a bias, log s, of which the logarithms of the sums of s are.
  template <class S>
  void mask_groups(bool biased, Vector<S>& key_E, Vector<S>& total, std::vector<Index>& indices) const {
    const Index size = key_E.size() / groups, add = counted(key_E.size());
    Index* best = indices.data();  // of one group; then the best groups
    total.resize(key_E.size());    // as its other users do; `groups` of them are read
    for (Index g = 0; g < groups; ++g) {
      const S* key = key_E.data() + g * size;
      detail::top_k(key, size, add, best);
      S sum = 0;
      for (Index i = 0; i < add; ++i) {
        const S distance = key[best[i]] == key[best[0]] ? S(0) : key[best[i]] - key[best[0]];
        sum += biased ? key[best[i]] : std::exp(distance);
      }
      total(g) = biased ? sum : key[best[0]] + std::log(sum);
    }
    detail::top_k(total.data(), groups, groups_used, best);
    for (Index g = 0; g < groups; ++g) {
      auto group = key_E.segment(g * size, size);
      if (std::find(best, best + groups_used, g) == best + groups_used)
        group.setConstant(-std::numeric_limits<S>::infinity());
      else
        for (S& key : group) key = (std::max)(detail::selection_key(key), std::numeric_limits<S>::lowest());
    }
  }
};

static_assert(TrainableGate<ScoredTopK, float>);

MOE_NAMESPACE_END
