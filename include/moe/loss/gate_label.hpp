// A supervised gate: labels say which expert, or which group of experts, a token belongs to.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/kernel/softmax.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Cross-entropy: mean over the labelled tokens of -log(sum of p_e over the experts of the token's label), with p =
/// softmax(logits) over all experts, without noise, whatever the gate chooses. It reaches experts that were not chosen,
/// as the task's gradient through a sparse gate does not. Without padding; 0 if no token has a label.
struct GateLabelLoss {
  double coefficient = 1;
  std::vector<Index> label_of_token = {};   ///< T, of the present batch; -1: none. Empty: nobody has one.
  std::vector<Index> label_of_expert = {};  ///< E; empty: expert e has label e.

  static constexpr std::string_view name() { return "gate_label"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    S sum = 0;
    Vector<S> p_E;
    const Index labelled = for_each_labelled(routing, p_E, [&](Index, S mass) { sum -= std::log(mass); });
    return labelled > 0 ? sum / static_cast<S>(labelled) : S(0);
  }

  /// d(-log mass) / d logits = p - p of the label's experts / mass
  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    Vector<S>& p_E = drouting.workspace.expert_E;
    const Index labelled = for_each_labelled(routing, p_E, [](Index, S) {});
    for_each_labelled(routing, p_E, [&](Index t, S mass) {
      for (Index e = 0; e < routing.experts(); ++e)
        drouting.logits_TE(t, e) += scale / static_cast<S>(labelled) * p_E(e) * (is_of(t, e) ? 1 - 1 / mass : S(1));
    });
  }

 private:
  bool is_of(Index token, Index expert) const {
    const Index label = label_of_token[static_cast<std::size_t>(token)];
    return label == (label_of_expert.empty() ? expert : label_of_expert[static_cast<std::size_t>(expert)]);
  }

  /// Calls f(token, probability of its label) with `p_E` its probabilities; returns how many tokens have labels.
  /// Throws std::invalid_argument if there are not as many labels as tokens and experts, or one is no expert's.
  template <class S, class F>
  Index for_each_labelled(const Routing<S>& routing, Vector<S>& p_E, F&& f) const {
    const Index experts = routing.experts();
    if (label_of_token.empty()) return 0;
    detail::require(static_cast<Index>(label_of_token.size()) == routing.tokens(),
                    "GateLabelLoss: ", label_of_token.size(), " labels for ", routing.tokens(), " tokens");
    detail::require(label_of_expert.empty() || static_cast<Index>(label_of_expert.size()) == experts,
                    "GateLabelLoss: ", label_of_expert.size(), " labels for ", experts, " experts");
    p_E.resize(experts);
    Index labelled = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t) || label_of_token[static_cast<std::size_t>(t)] == -1) continue;
      detail::softmax_row(routing.logits_TE.row(t).data(), experts, p_E.data());
      S mass = 0;
      bool found = false;
      for (Index e = 0; e < experts; ++e)
        if (is_of(t, e)) mass += p_E(e), found = true;
      detail::require(found, "GateLabelLoss: token ", t, " has label ", label_of_token[static_cast<std::size_t>(t)],
                      ", which is no expert's");
      ++labelled;
      f(t, (std::max)(mass, smallest<S>()));
    }
    return labelled;
  }

  /// A mass that underflowed costs a lot, but no infinity.
  template <class S>
  static constexpr S smallest() {
    return S(1e-30);
  }
};

static_assert(AuxiliaryLoss<GateLabelLoss, float>);

MOE_NAMESPACE_END
