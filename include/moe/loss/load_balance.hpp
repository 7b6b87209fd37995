// The load-balance loss of GShard and Switch, and its relatives.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/gate_properties.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// E * sum_e f_e P_e: P_e the mean over tokens of the probability of e, f_e the share of tokens that chose e, a
/// constant for the gradient (Lepikhin et al. 2020, algorithm 1; Fedus et al. 2021, eq. 4 to 6). Choices count before
/// dropping, where nothing else is said. Without padding; 0 for an empty batch. GShard's text divides by E^2: scale the
/// coefficient. With expert choice, whose ranks are places in an expert's list, tokens have no first choices: count
/// all_choices there; the default would count one token for each expert.
struct LoadBalanceLoss {
  enum class Count {
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
  enum class Over {
    batch,     ///< f and P over all tokens (micro-batch)
    sequence,  ///< f and P over each group of the batch, and the mean over groups (DeepSeek-V2 and V3 with
               ///< all_choices_share, Megatron-Core's seq_aux_loss, Switch in transformers)
  };

  /// What earlier micro-batches of the same step add to f: their counts by expert, and what these are divided by.
  struct Earlier {
    Vector<double> count_E = {};  ///< Empty: there were none.
    double total = 0;
  };

  double coefficient = 1e-2;
  Count count = Count::first_choices;
  Over over = Over::batch;
  Earlier earlier = {};

  static constexpr std::string_view name() { return "load_balance"; }

  /// Throws std::invalid_argument if plain_top_k_share is asked of a gate that chooses more experts for some tokens
  /// than for others.
  template <class G>
  void check(Index, const G& gate) const {
    require(count != Count::plain_top_k_share || !detail::choices_differ(gate), not_fixed);
  }

  /// `earlier` and this pass: f over the whole batch while P and the gradient are the present micro-batch's
  /// (Megatron-Core's global_aux_loss). After each micro-batch, loss.earlier = loss.with(tape.routing); after a step,
  /// loss.earlier = {}. Layers counted together (transformers' Mixtral family): in each layer's backward pass `earlier`
  /// is what the other layers chose, and the coefficient is divided by the number of layers. Throws
  /// std::invalid_argument if `earlier` is of another number of experts.
  template <class S>
  Earlier with(const Routing<S>& routing) const {
    routing.check();
    Earlier sum = earlier;
    if (routing.choices.empty()) return sum;
    Buffer<Matrix<S>> count_GE;
    count_GE.resize(routing.tokens() / group_size(routing), routing.experts());
    count_GE.setZero();
    std::vector<Index> indices;
    count_choices(routing, count_GE, indices);
    const Vector<double> count_E = count_GE.colwise().sum().transpose().template cast<double>();
    if (sum.count_E.size() == 0) sum.count_E.setZero(count_E.size());
    require(sum.count_E.size() == count_E.size(), "LoadBalanceLoss::with: earlier counts of ", sum.count_E.size(),
            " experts, the routing has ", count_E.size());
    sum.count_E += count_E;
    sum.total += is_share() ? count_E.sum() : static_cast<double>(routing.valid_tokens);
    return sum;
  }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    S sum = 0;
    Buffer<Matrix<S>> slope_GE;
    std::vector<Index> indices;
    measure_slopes(routing, slope_GE, indices);
    for_each_token(routing, [&](Index t, Index g) { sum += routing.probabilities_TE.row(t).dot(slope_GE.row(g)); });
    return sum;
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    Buffer<Matrix<S>>& slope_GE = drouting.workspace.rows_TE;
    measure_slopes(routing, slope_GE, drouting.workspace.indices);
    for_each_token(routing, [&](Index t, Index g) { drouting.probabilities_TE.row(t) += scale * slope_GE.row(g); });
  }

 private:
  static constexpr std::string_view not_fixed =
      "LoadBalanceLoss: the gate does not choose a fixed number k of experts for each token";

  bool is_share() const {
    return count == Count::all_choices_share || count == Count::plain_top_k_share ||
           count == Count::kept_first_choices_share;
  }

  template <class S>
  Index group_size(const Routing<S>& routing) const {
    return over == Over::batch || routing.group_size == 0 ? routing.tokens() : routing.group_size;
  }

  /// Calls f(token, group).
  template <class S, class F>
  void for_each_token(const Routing<S>& routing, F&& f) const {
    if (routing.choices.empty()) return;
    const Index size = group_size(routing);
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t)) f(t, t / size);
  }

  /// d loss / d p of each group's tokens: E f / (tokens of the group) / (groups that have a token).
  template <class S>
  void measure_slopes(const Routing<S>& routing, Buffer<Matrix<S>>& slope_GE, std::vector<Index>& indices) const {
    if (routing.tokens() == 0) return;
    const Index groups = routing.tokens() / group_size(routing);
    slope_GE.resize(groups, routing.experts());
    slope_GE.setZero();
    count_choices(routing, slope_GE, indices);
    const bool has_earlier = earlier.count_E.size() > 0;
    require(!has_earlier || (groups == 1 && earlier.count_E.size() == routing.experts()),
            "LoadBalanceLoss: earlier counts of ", earlier.count_E.size(), " experts for ", routing.experts(),
            " experts and ", groups, " groups, which must be one");
    indices.assign(static_cast<std::size_t>(groups), 0);  // tokens of each group
    Index used = 0;
    for_each_token(routing, [&](Index, Index g) { used += indices[static_cast<std::size_t>(g)]++ == 0 ? 1 : 0; });
    for (Index g = 0; g < groups; ++g) {
      const Index tokens = indices[static_cast<std::size_t>(g)];
      const S present = is_share() ? slope_GE.row(g).sum() : static_cast<S>(tokens);
      const S counted = present + static_cast<S>(earlier.total);
      const S averaged = count == Count::kept_first_choices_share ? present : static_cast<S>(tokens);
      if (has_earlier) slope_GE.row(g) += earlier.count_E.transpose().template cast<S>();
      slope_GE.row(g) *= averaged > 0 && counted > 0
                             ? static_cast<S>(routing.experts()) / counted / (averaged * static_cast<S>(used))
                             : S(0);
    }
  }

  template <class S>
  void count_choices(const Routing<S>& routing, Buffer<Matrix<S>>& count_GE, std::vector<Index>& best) const {
    if (count == Count::plain_top_k_share) {
      const Index k = routing.choices_per_token;
      require(k > 0, not_fixed);
      require(k <= routing.experts(), "LoadBalanceLoss: plain_top_k_share needs a token's ", k,
              " choices to be different experts, there are ", routing.experts());
      best.resize(static_cast<std::size_t>(k));
      for_each_token(routing, [&](Index t, Index g) {
        detail::top_k(routing.probabilities_TE.row(t).data(), routing.experts(), k, best.data());
        for (const Index e : best) count_GE(g, e) += S(1);
      });
      return;
    }
    const bool only_kept = count == Count::kept_first_choices || count == Count::kept_first_choices_share;
    const bool all = count == Count::all_choices || count == Count::all_choices_share;
    const Index size = group_size(routing);
    for (const Choice<S>& c : routing.choices) {
      if (!all && c.rank > 0) continue;
      if (only_kept && c.fate != Fate::sent) continue;
      const bool moved = count == Count::dropped_to_first_expert && c.fate == Fate::dropped;
      count_GE(c.token / size, moved ? Index{0} : c.expert) += S(1);
    }
  }
};

static_assert(AuxiliaryLoss<LoadBalanceLoss, float>);

MOE_NAMESPACE_END
