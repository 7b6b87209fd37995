// Top-k by scores that need not be a softmax, with a selection bias and limited groups: the gate of DeepSeek-V2 and V3.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "moe/batch.hpp"
#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/kernel/activations.hpp"
#include "moe/kernel/buffer.hpp"
#include "moe/kernel/chunk.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/kernel/softmax.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// s = score(logits). Selected are the k experts of the largest s + selection_bias among the best groups; they weigh
/// scale * s, or scale * s / (sum of the selected s + epsilon) or / max(sum, epsilon): the bias never enters a weight.
/// The routing's probabilities are s divided by their sum over all experts. Priority as with TopK.
struct ScoredTopK {
  enum class Score {
    softmax,
    sigmoid,        ///< 1 / (1 + exp(-z)) (DeepSeek-V3)
    sqrt_softplus,  ///< sqrt(log(1 + exp(z))) (DeepSeek-V4)
  };
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
    detail::require(detail::has_finite_bits(scale) && scale > 0 && epsilon >= 0, "ScoredTopK: scale ", scale,
                    " and epsilon ", epsilon, ", they must be more than 0 and at least 0");
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
    routing.scores_TE.resize(routing.tokens(), experts);
    routing.choices_per_token = k;
    routing.choices.resize(static_cast<std::size_t>(valid * k));
    Index nth = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      S* score_E = routing.scores_TE.row(t).data();
      score_row(routing.weighing_logits_TE().row(t).data(), experts, score_E);
      routing.probabilities_TE.row(t) =
          routing.scores_TE.row(t) / detail::sum_row(routing.scores_TE.row(t).data(), experts);
      if (!routing.is_valid(t)) continue;
      if (routing.noise.drawn)
        score_row(routing.selection_logits_TE().row(t).data(), experts, workspace.expert_E.data());
      else
        workspace.expert_E = routing.scores_TE.row(t).transpose();
      if (selection_bias_E.size() > 0) workspace.expert_E += selection_bias_E.template cast<S>();
      if (groups_used < groups) mask_groups(workspace.expert_E, workspace.expert2_E, workspace.indices);
      detail::top_k(workspace.expert_E.data(), experts, k, workspace.indices.data());
      S sum = 0;
      for (Index rank = 0; rank < k && normalize; ++rank) sum += score_E[chosen(routing, rank)];
      const S total = divisor(sum);
      for (Index rank = 0; rank < k; ++rank) {
        const Index e = chosen(routing, rank);
        routing.choices[static_cast<std::size_t>(rank * valid + nth)] = {
            t, e, static_cast<S>(scale) * score_E[e] / total, static_cast<int>(rank)};
      }
      ++nth;
    }
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    const Index experts = routing.experts();
    Vector<S>& inner_T = drouting.workspace.token_T;   // sum over a token's choices of dweight * weight
    Vector<S>& total_T = drouting.workspace.token2_T;  // what its scores are divided by
    inner_T.setZero(routing.tokens());
    total_T.setZero(routing.tokens());
    Buffer<Matrix<S>>& dscore_TE = drouting.workspace.rows_TE;
    dscore_TE.resize(routing.tokens(), experts);
    dscore_TE.setZero();
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      if (!normalize) continue;
      inner_T(c.token) += drouting.choices[i].weight * c.weight;
      total_T(c.token) += routing.scores_TE(c.token, c.expert);
    }
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      // w = scale s / (sum s + epsilon): ds = (scale dw - sum dw w) / (sum s + epsilon)
      const Choice<S>& c = routing.choices[i];
      const S inner = is_at_floor(total_T(c.token)) ? S(0) : inner_T(c.token);
      dscore_TE(c.token, c.expert) +=
          (static_cast<S>(scale) * drouting.choices[i].weight - inner) / divisor(total_T(c.token));
    }
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t)) continue;
      // p = s / sum s: ds = (dp - sum dp p) / sum s
      const auto p = routing.probabilities_TE.row(t);
      const auto dp = drouting.probabilities_TE.row(t);
      const S sum = detail::sum_row(routing.scores_TE.row(t).data(), experts);
      dscore_TE.row(t).array() += (dp.array() - detail::dot_rows(dp.data(), p.data(), experts)) / sum;
      score_row_backward(routing.weighing_logits_TE().row(t).data(), routing.scores_TE.row(t).data(),
                         dscore_TE.row(t).data(), experts, drouting.weighing_logits_TE().row(t).data());
    }
  }

  /// The bias is state: it is saved with a layer, and learned without gradients.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    if ((... || (self.selection_bias_E.size() > 0))) f("selection_bias", self.selection_bias_E...);
  }

 private:
  template <class S>
  bool is_at_floor(S sum) const {
    return normalize && epsilon_is == Epsilon::floor && sum < static_cast<S>(epsilon);
  }

  /// What the selected scores, which add up to `sum`, are divided by.
  template <class S>
  S divisor(S sum) const {
    if (!normalize) return S(1);
    return epsilon_is == Epsilon::added ? sum + static_cast<S>(epsilon) : (std::max)(sum, static_cast<S>(epsilon));
  }

  template <class S>
  static Index chosen(const Routing<S>& routing, Index rank) {
    return routing.workspace.indices[static_cast<std::size_t>(rank)];
  }

  /// How many experts of a group its score adds up.
  Index counted(Index experts) const {
    if (groups_used == groups || group_score == GroupScore::best) return (std::min)(Index{1}, experts);
    return group_score == GroupScore::best_two ? 2 : (std::max)(Index{1}, k / groups_used);
  }

  template <class S>
  void score_row(const S* logits, Index experts, S* scores) const {
    if (score == Score::softmax) {
      detail::softmax_row(logits, experts, scores);
      return;
    }
    using Chunk = detail::Chunk<S>;
    const bool is_sigmoid = score == Score::sigmoid;
    const auto scored = [is_sigmoid](const Chunk& z) -> Chunk {
      if (is_sigmoid) return detail::sigmoid<S>(z);
      return ((z.max)(S(0)) + (-z.abs()).exp().log1p()).sqrt();
    };
    detail::map_chunks(experts, scores, scored, logits);
  }

  template <class S>
  void score_row_backward(const S* logits, const S* scores, const S* dscores, Index experts, S* dlogits) const {
    if (score == Score::softmax) {
      detail::softmax_row_backward(scores, dscores, experts, dlogits);
      return;
    }
    for (Index e = 0; e < experts; ++e) {
      if (score == Score::sigmoid) {
        dlogits[e] += dscores[e] * scores[e] * (S(1) - scores[e]);
      } else {  // d sqrt(softplus(z)) = sigmoid(z) / (2 s)
        const S decay = std::exp(-std::abs(logits[e]));
        const S sigmoid = (logits[e] >= 0 ? S(1) : decay) / (S(1) + decay);
        if (scores[e] > 0) dlogits[e] += dscores[e] * sigmoid / (S(2) * scores[e]);
      }
    }
  }

  /// -infinity for the experts outside the best groups.
  template <class S>
  void mask_groups(Vector<S>& select_E, Vector<S>& total, std::vector<Index>& indices) const {
    const Index size = select_E.size() / groups, add = counted(select_E.size());
    Index* best = indices.data();  // of one group; then the best groups
    total.resize(groups);
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
