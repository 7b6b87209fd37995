// Which choices the load-balance loss counts, and their counts by group and expert.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// What f_e of LoadBalanceLoss counts; its Count.
enum class ChoiceCount {
  first_choices,       ///< f_e = first choices of e / T (GShard, Switch, V-MoE, DeepSpeed top-2); balanced: 1
  all_choices,         ///< f_e = choices of e / T (transformers' Mixtral family, flaxformer); balanced: k
  all_choices_share,   ///< f_e = choices of e / all choices (Megatron-Core, MegaBlocks, DeepSpeed top-k); balanced: 1
  kept_first_choices,  ///< f_e = first choices of e that have a slot / T (lucidrains' ST-MoE, whose dropped ones
                       ///< vanish)
  dropped_to_first_expert,   ///< as first_choices, but a dropped one counts for expert 0 (transformers' Switch, as it
                             ///< feeds the loss)
  kept_first_choices_share,  ///< f_e = first choices of e that have a slot / n, and P_e = sum of p_e / n, with n
                             ///< their number over all experts (FastMoE's Switch gate)
  plain_top_k_share,  ///< f_e = tokens with e among their k most probable / (k T), whatever bias, groups or noise
                      ///< made the choices (Megatron-Core with sigmoid scores or groups)
};

namespace detail {

inline constexpr std::string_view not_fixed_number =
    "LoadBalanceLoss: the gate does not choose a fixed number k of experts for each token";

/// Whether f_e is divided by what was counted, not by the tokens.
constexpr bool is_share(ChoiceCount count) {
  return count == ChoiceCount::all_choices_share || count == ChoiceCount::plain_top_k_share ||
         count == ChoiceCount::kept_first_choices_share;
}

/// Counts the experts among each token's k most probable.
template <class S>
void count_most_probable(const Routing<S>& routing, Index size, Buffer<Matrix<S>>& count_GE, std::vector<Index>& best) {
  const Index k = routing.choices_per_token, experts = routing.experts();
  require(k > 0, not_fixed_number);
  require(k <= experts, "LoadBalanceLoss: plain_top_k_share needs a token's ", k,
          " choices to be different experts, there are ", experts);
  if (routing.choices.empty()) return;
  best.resize(static_cast<std::size_t>(k));
  for (Index t = 0; t < routing.tokens(); ++t) {
    if (!routing.is_valid(t)) continue;
    top_k(row_at(routing.probabilities_TE, t), experts, k, best.data());
    for (const Index e : best) row_at(count_GE, t / size)[e] += S(1);
  }
}

/// The counts of each group, by expert; `best` is memory to work in.
template <class S>
void count_choices(const Routing<S>& routing, ChoiceCount count, Index groups, Buffer<Matrix<S>>& count_GE,
                   std::vector<Index>& best) {
  const Index size = routing.tokens() / groups, experts = routing.experts();
  count_GE.resize(groups, experts);
  std::fill_n(count_GE.data(), count_GE.size(), S(0));
  if (count == ChoiceCount::plain_top_k_share) return count_most_probable(routing, size, count_GE, best);
  const bool only_kept = count == ChoiceCount::kept_first_choices || count == ChoiceCount::kept_first_choices_share;
  const bool all = count == ChoiceCount::all_choices || count == ChoiceCount::all_choices_share;
  for (const Choice<S>& c : routing.choices) {
    if (!all && c.rank > 0) continue;
    if (only_kept && c.fate != Fate::sent) continue;
    const bool moved = count == ChoiceCount::dropped_to_first_expert && c.fate == Fate::dropped;
    row_at(count_GE, c.token / size)[moved ? 0 : c.expert] += S(1);
  }
}

}  // namespace detail

MOE_NAMESPACE_END
