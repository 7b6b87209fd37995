// The load-balance loss of GShard and Switch, and its relatives.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// E * sum_e f_e P_e: P_e the mean over tokens of the probability of e, f_e the share of tokens that chose e, a
/// constant for the gradient (Lepikhin et al. 2020, algorithm 1; Fedus et al. 2021, eq. 4 to 6). Choices count before
/// dropping, where nothing else is said. Without padding; 0 for an empty batch. GShard's text divides by E^2: scale the
/// coefficient.
struct LoadBalanceLoss {
  enum class Count {
    first_choices,       ///< f_e = first choices of e / T (GShard, Switch, V-MoE, DeepSpeed top-2); balanced: 1
    all_choices,         ///< f_e = choices of e / T (transformers' Mixtral family, flaxformer); balanced: k
    all_choices_share,   ///< f_e = choices of e / all choices (Megatron-Core, MegaBlocks, DeepSpeed top-k); balanced: 1
    kept_first_choices,  ///< f_e = first choices of e that have a slot / T (lucidrains' ST-MoE, whose dropped ones
                         ///< vanish)
    dropped_to_first_expert,  ///< as first_choices, but a dropped one counts for expert 0 (transformers' Switch, as it
                              ///< feeds the loss)
    plain_top_k_share,  ///< f_e = tokens with e among their k most probable / (k T), whatever bias, groups or noise
                        ///< made the choices (Megatron-Core with sigmoid scores or groups)
  };
  enum class Over {
    batch,     ///< f and P over all tokens (micro-batch)
    sequence,  ///< f and P over each group of the batch, and the mean over groups (DeepSeek-V2 and V3 with
               ///< all_choices_share, Megatron-Core's seq_aux_loss, Switch in transformers)
  };

  double coefficient = 1e-2;
  Count count = Count::first_choices;
  Over over = Over::batch;

  static constexpr std::string_view name() { return "load_balance"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    Vector<S> slope_E(routing.experts());
    std::vector<Index> best;
    S sum = 0;
    for_each_group(routing, best, slope_E, [&](Index t) { sum += routing.probabilities_TE.row(t).dot(slope_E); });
    return sum;
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    for_each_group(routing, drouting.workspace.indices, drouting.workspace.expert_E, [&](Index t) {
      drouting.probabilities_TE.row(t) += scale * drouting.workspace.expert_E.transpose();
    });
  }

 private:
  /// Calls f(t) for each token, with d loss / d p_t in slope_E: E f / (tokens of the group) / groups.
  template <class S, class F>
  void for_each_group(const Routing<S>& routing, std::vector<Index>& best, Vector<S>& slope_E, F&& f) const {
    if (routing.valid_tokens == 0 || routing.choices.empty()) return;
    const bool whole = over == Over::batch || routing.group_size == 0;
    const Index size = whole ? routing.tokens() : routing.group_size;
    Index groups = 0;  // that have a token
    for (Index begin = 0; begin < routing.tokens(); begin += size)
      groups += tokens_in(routing, begin, size) > 0 ? 1 : 0;
    for (Index begin = 0; begin < routing.tokens(); begin += size) {
      const Index tokens = tokens_in(routing, begin, size);
      if (tokens == 0) continue;
      slope_E.setZero(routing.experts());
      count_choices(routing, begin, begin + size, best, slope_E);
      const S counted = count == Count::all_choices_share || count == Count::plain_top_k_share ? slope_E.sum()
                                                                                               : static_cast<S>(tokens);
      if (!(counted > 0)) continue;
      slope_E *= static_cast<S>(routing.experts()) / counted / static_cast<S>(tokens * groups);
      for (Index t = begin; t < begin + size; ++t)
        if (routing.is_valid(t)) f(t);
    }
  }

  template <class S>
  static Index tokens_in(const Routing<S>& routing, Index begin, Index size) {
    Index tokens = 0;
    for (Index t = begin; t < begin + size; ++t) tokens += routing.is_valid(t) ? 1 : 0;
    return tokens;
  }

  template <class S>
  void count_choices(const Routing<S>& routing, Index begin, Index end, std::vector<Index>& best,
                     Vector<S>& count_E) const {
    if (count == Count::plain_top_k_share) {
      const Index k = routing.choices_per_token;
      detail::require(k > 0, "LoadBalanceLoss: the gate does not choose a fixed number k of experts for each token");
      best.resize(static_cast<std::size_t>(k));
      for (Index t = begin; t < end; ++t) {
        if (!routing.is_valid(t)) continue;
        detail::top_k(routing.probabilities_TE.row(t).data(), routing.experts(), k, best.data());
        for (const Index e : best) count_E(e) += S(1);
      }
      return;
    }
    for (const Choice<S>& c : routing.choices) {
      if (c.token < begin || c.token >= end) continue;
      const bool all = count == Count::all_choices || count == Count::all_choices_share;
      if (!all && c.rank > 0) continue;
      if (count == Count::kept_first_choices && c.fate != Fate::sent) continue;
      const bool moved = count == Count::dropped_to_first_expert && c.fate == Fate::dropped;
      count_E(moved ? Index{0} : c.expert) += S(1);
    }
  }
};

static_assert(AuxiliaryLoss<LoadBalanceLoss, float>);

MOE_NAMESPACE_END
