// The load-balance loss of GShard and Switch.
#pragma once

#include <cstddef>
#include <string_view>

#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// E * sum_e f_e P_e: P_e the mean over tokens of the probability of e, f_e the share of tokens that chose e, before
/// dropping, a constant for the gradient (Lepikhin et al. 2020, algorithm 1; Fedus et al. 2021, eq. 4 to 6). Without
/// padding; 0 for an empty batch. GShard's text divides by E^2: scale the coefficient.
struct LoadBalanceLoss {
  enum class Count {
    first_choices,      ///< f_e = first choices of e / T (GShard, Switch, V-MoE, DeepSpeed top-2); balanced: 1
    all_choices,        ///< f_e = choices of e / T (transformers' Mixtral family); balanced: k
    all_choices_share,  ///< f_e = choices of e / (k T) (Megatron-Core, MegaBlocks, DeepSpeed top-k); balanced: 1
  };

  double coefficient = 1e-2;
  Count count = Count::first_choices;

  static constexpr std::string_view name() { return "load_balance"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    Vector<S> share_E = Vector<S>::Zero(routing.experts());
    if (!count_shares(routing, share_E)) return S(0);
    S sum = 0;
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t)) sum += routing.probabilities_TE.row(t).dot(share_E);
    return sum * slope(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    Vector<S>& share_E = drouting.workspace.expert_E;
    share_E.setZero(routing.experts());
    if (!count_shares(routing, share_E)) return;
    share_E *= scale * slope(routing);
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t)) drouting.probabilities_TE.row(t) += share_E.transpose();
  }

 private:
  /// E / T: of f in the sum over tokens.
  template <class S>
  static S slope(const Routing<S>& routing) {
    return static_cast<S>(routing.experts()) / static_cast<S>(routing.valid_tokens);
  }

  /// f; false if there is nothing to count.
  template <class S>
  bool count_shares(const Routing<S>& routing, Vector<S>& share_E) const {
    if (routing.valid_tokens == 0 || routing.choices.empty()) return false;
    for (const Choice<S>& c : routing.choices)
      if (count != Count::first_choices || c.rank == 0) share_E(c.expert) += S(1);
    share_E /= static_cast<S>(count == Count::all_choices_share ? static_cast<Index>(routing.choices.size())
                                                                : routing.valid_tokens);
    return true;
  }
};

static_assert(AuxiliaryLoss<LoadBalanceLoss, float>);

MOE_NAMESPACE_END
