// Losses on the entropy of the gate's probabilities: LIMoE's local and global ones, and the mutual information.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Entropies in nats over the tokens of one modality, or over all (Mustafa et al. 2022, LIMoE, section 2.2). Without
/// padding; 0 if the modality has no token.
struct EntropyLoss {
  enum class Of {
    local,               ///< mean over tokens of H(p_t): each token should be sure of its expert
    global,              ///< -H(mean of p_t), or max(0, threshold - H): the tokens together should use many experts
    mutual_information,  ///< local + global: minus the mutual information of token and expert (ModuleFormer)
  };

  double coefficient = 1e-2;
  Of of = Of::local;
  double threshold = -1;                            ///< Of `global`: ln(S) asks for S experts at least; negative: none.
  int modality = -1;                                ///< Only tokens with this label; -1: all.
  std::vector<std::int8_t> modality_of_token = {};  ///< One label a token, if a modality is named.

  std::string_view name() const {
    return of == Of::local ? "local_entropy" : of == Of::global ? "global_entropy" : "mutual_information";
  }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    Vector<S> mean_E(routing.experts());
    const Index tokens = average(routing, mean_E);
    if (tokens == 0) return S(0);
    S value = 0;
    if (of != Of::global) {
      for (Index t = 0; t < routing.tokens(); ++t)
        if (takes(routing, t)) value += entropy(routing.probabilities_TE.row(t)) / static_cast<S>(tokens);
    }
    if (of == Of::global && threshold >= 0)
      value = (std::max)(S(0), static_cast<S>(threshold) - entropy(mean_E));
    else if (of != Of::local)
      value -= entropy(mean_E);
    return value;
  }

  /// d H / d p_e = -(ln p_e + 1)
  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    Vector<S>& mean_E = drouting.workspace.expert_E;
    mean_E.resize(routing.experts());
    const Index tokens = average(routing, mean_E);
    if (tokens == 0) return;
    const bool is_met = of == Of::global && threshold >= 0 && entropy(mean_E) >= static_cast<S>(threshold);
    const S share = scale / static_cast<S>(tokens);
    Vector<S>& dmean_E = drouting.workspace.expert2_E;
    dmean_E = mean_E.unaryExpr([](S p) { return slope(p); });
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!takes(routing, t)) continue;
      for (Index e = 0; e < routing.experts(); ++e) {
        S& dp = drouting.probabilities_TE(t, e);
        if (of != Of::global) dp += share * slope(routing.probabilities_TE(t, e));
        if (of != Of::local && !is_met) dp -= share * dmean_E(e);
      }
    }
  }

 private:
  template <class S>
  static S slope(S p) {
    return p > 0 ? -(std::log(p) + S(1)) : S(0);
  }

  template <class Row>
  static auto entropy(const Row& p) {
    typename Row::Scalar sum = 0;
    for (Index e = 0; e < p.size(); ++e)
      if (p(e) > 0) sum -= p(e) * std::log(p(e));
    return sum;
  }

  template <class S>
  bool takes(const Routing<S>& routing, Index t) const {
    return routing.is_valid(t) && (modality < 0 || modality_of_token[static_cast<std::size_t>(t)] == modality);
  }

  template <class S>
  Index average(const Routing<S>& routing, Vector<S>& mean_E) const {
    require(modality < 0 || std::cmp_equal(modality_of_token.size(), routing.tokens()),
            "EntropyLoss: ", modality_of_token.size(), " modality labels for ", routing.tokens(), " tokens");
    require(!detail::has_nan_bits(threshold), "EntropyLoss: threshold is ", threshold);
    mean_E.setZero();
    Index tokens = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!takes(routing, t)) continue;
      mean_E += routing.probabilities_TE.row(t).transpose();
      ++tokens;
    }
    if (tokens > 0) mean_E /= static_cast<S>(tokens);
    return tokens;
  }
};

static_assert(AuxiliaryLoss<EntropyLoss, float>);

MOE_NAMESPACE_END
