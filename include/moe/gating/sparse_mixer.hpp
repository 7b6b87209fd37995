// SparseMixer: sampled experts, and an estimate of the gradient through the choice, which top-k does not have.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// SparseMixer-v2 (Liu et al. 2023, arXiv 2310.00811; 2024, GRIN, arXiv 2409.12136; Phi-3.5-MoE).
///
/// The experts of a token are chosen one after the other. Let m be the largest logit of the experts that are left.
/// Those with (m - z) / max(|z|, m) > 2 band are masked, and p is the softmax over the rest. In training the choice is
/// drawn from p, in evaluation it is the largest. Its weight is p; if it is not the largest and a uniform draw is 3/4
/// or less, the weight is p * midpoint.
///
/// The gradient is that of p in either case. Together with the sampled step to the midpoint it is a third-order
/// estimate (Heun) of the gradient through the choice itself; differences of a single pass do not show that part.
/// Priority as with TopK. Draws: token by token, choice by choice, E Gumbel numbers and one uniform number.
struct SparseMixer {
  Index k = 2;
  double band = 0.01;        ///< Phi-3.5-MoE's router_jitter_noise.
  double midpoint = 0.3333;  ///< Phi-3.5-MoE's; the paper's is 1 / 3.

  void check(Index experts) const {
    require(k >= 1 && k <= experts, "SparseMixer: k is ", k,
            ", it must be 1 or more and at most the number of experts, ", experts);
    require(detail::has_finite_bits(band) && band >= 0 && midpoint > 0 && midpoint <= 1, "SparseMixer: band ", band,
            " and midpoint ", midpoint, ", they must be finite and at least 0, and in (0, 1]");
  }

  Index most_choices(Index) const { return k; }
  bool accepts_noise(bool) const { return false; }  // it draws its own

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    detail::check_route(*this, batch, routing);
    const Index experts = routing.experts(), valid = routing.valid_tokens;
    auto& workspace = routing.workspace;
    workspace.expert_E.resize(experts);
    workspace.expert2_E.resize(experts);
    routing.choices_per_token = k;
    routing.selects_largest_logits = false;
    routing.choices.resize(static_cast<std::size_t>(valid * k));
    Index nth = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      routing.set_probabilities(t);
      if (!routing.is_valid(t)) continue;
      for (Index rank = 0; rank < k; ++rank) {
        Vector<S>&p_E = workspace.expert_E, &sampled_E = workspace.expert2_E;
        const auto earlier = [&](Index r) { return routing.choices[at(r * valid + nth)].expert; };
        const Index best = masked_softmax(routing, t, rank, earlier, p_E);
        Index chosen = best;
        S weighs = 1;
        if (random != nullptr) {
          for (Index e = 0; e < experts; ++e) {
            const auto draw = static_cast<S>(random->gumbel());
            const S logit = routing.weighing_logits_TE()(t, e);
            sampled_E(e) = p_E(e) > 0 ? logit + draw : -std::numeric_limits<S>::infinity();
          }
          detail::top_k(sampled_E.data(), experts, Index{1}, &chosen);
          if (!(p_E(chosen) > 0)) chosen = best;  // logits that are not finite
          if (!(random->uniform() > 0.75) && chosen != best) weighs = static_cast<S>(midpoint);
        }
        routing.choices[at(rank * valid + nth)] = {t, chosen, weighs * p_E(chosen), static_cast<int>(rank)};
      }
      ++nth;
    }
  }

  /// dz = dw p_chosen (one at the chosen - p).
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    ChoiceWeights::uniform().backward(routing, drouting);  // of the probabilities
    Vector<S>& p_E = drouting.workspace.expert_E;
    p_E.resize(routing.experts());
    std::vector<Index>& expert_Tk = drouting.workspace.indices;  // the choices may be in any order
    expert_Tk.assign(at(routing.tokens() * k), Index{0});
    for (const Choice<S>& c : routing.choices)
      require(c.rank >= 0 && c.rank < k, "SparseMixer: choice ", c.rank + 1, " of a token, k is ", k);
    for (const Choice<S>& c : routing.choices) expert_Tk[at(c.token * k + c.rank)] = c.expert;
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      const auto earlier = [&](Index r) { return expert_Tk[at(c.token * k + r)]; };
      masked_softmax(routing, c.token, c.rank, earlier, p_E);
      const S slope = drouting.choices[i].weight * p_E(c.expert);
      auto dlogits_E = drouting.weighing_logits_TE().row(c.token);
      dlogits_E -= slope * p_E.transpose();
      dlogits_E(c.expert) += slope;
    }
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }

  /// Writes p of the token's choice of this rank, where earlier(0), earlier(1), ... are the experts of the ranks
  /// before, and returns the expert with the largest p. If all logits that are left are -infinity, p is 0.
  template <class S, class Earlier>
  Index masked_softmax(const Routing<S>& routing, Index t, Index rank, Earlier&& earlier, Vector<S>& p_E) const {
    constexpr S nothing = -std::numeric_limits<S>::infinity();
    p_E = routing.weighing_logits_TE().row(t).transpose();
    for (Index r = 0; r < rank; ++r) p_E(earlier(r)) = nothing;
    Index best = -1;
    for (Index e = 0; e < p_E.size(); ++e) {  // by index too, since all logits that are left may be -infinity
      bool is_left = true;
      for (Index r = 0; r < rank; ++r) is_left = is_left && earlier(r) != e;
      if (is_left && (best < 0 || detail::selection_rank(p_E(e)) > detail::selection_rank(p_E(best)))) best = e;
    }
    const S largest = p_E(best);
    if (!(detail::selection_rank(largest) > detail::selection_rank(nothing)) && !detail::has_nan_bits(p_E.sum())) {
      p_E.setZero();
      return best;
    }
    for (Index e = 0; e < p_E.size(); ++e) {
      const S distance = (largest - p_E(e)) / (std::max)(std::abs(p_E(e)), largest);
      if (distance > static_cast<S>(2 * band)) p_E(e) = nothing;
    }
    detail::softmax_row(p_E.data(), p_E.size(), p_E.data());
    return best;
  }
};

MOE_NAMESPACE_END
