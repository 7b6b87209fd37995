// Losses on the entropy of the gate's probabilities: LIMoE's local and global ones, and the mutual information.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Entropies in nats over the tokens of one modality, or over all (Mustafa et al. 2022, LIMoE, section 2.2). Without
/// padding; 0 if the modality has no token.
struct EntropyLoss {
  enum class Kind {
    local,               ///< mean over tokens of H(p_t): each token should be sure of its expert
    global,              ///< -H(mean of p_t), or max(0, threshold - H): the tokens together should use many experts
    mutual_information,  ///< local + global: minus the mutual information of token and expert (ModuleFormer)
  };

  double coefficient = 1e-2;
  Kind kind = Kind::local;
  double threshold = -1;                            ///< Of `global`: ln(S) demands S experts at least; negative: none.
  int modality = -1;                                ///< Only tokens with this label; -1: all.
  std::vector<std::int8_t> modality_of_token = {};  ///< One label a token, if a modality is named.

  std::string_view name() const {
    return kind == Kind::local ? "local_entropy" : kind == Kind::global ? "global_entropy" : "mutual_information";
  }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    Vector<detail::Wide<S>> sum_E;
    Vector<S> mean_E;
    const Index tokens = average(routing, sum_E, mean_E);
    if (tokens == 0) return S(0);
    detail::Wide<S> sum = 0;
    for (Index t = 0; t < routing.tokens() && kind != Kind::global; ++t)
      if (takes(routing, t)) sum += entropy(detail::row_at(routing.probabilities_TE, t), routing.experts());
    const auto value = static_cast<S>(sum / static_cast<detail::Wide<S>>(tokens));
    if (kind == Kind::local) return value;
    const S entropy_of_mean = entropy(mean_E.data(), mean_E.size());
    if (kind == Kind::global && threshold >= 0) return (std::max)(S(0), static_cast<S>(threshold) - entropy_of_mean);
    return value - entropy_of_mean;
  }

  /// d H / d p_e = -(ln p_e + 1)
  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    Vector<S>& mean_E = drouting.workspace.expert_E;
    const Index tokens = average(routing, drouting.workspace.sums_E, mean_E);
    if (tokens == 0) return;
    const bool is_met =
        kind == Kind::global && threshold >= 0 && entropy(mean_E.data(), mean_E.size()) >= static_cast<S>(threshold);
    const S share = scale / static_cast<S>(tokens);
    Vector<S>& dmean_E = drouting.workspace.expert2_E;
    dmean_E.resize(routing.experts());
    for (Index e = 0; e < routing.experts(); ++e) dmean_E.data()[e] = slope(mean_E.data()[e]);
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!takes(routing, t)) continue;
      const S* p_E = detail::row_at(routing.probabilities_TE, t);
      S* dp_E = detail::row_at(drouting.probabilities_TE, t);
      for (Index e = 0; e < routing.experts(); ++e) {
        if (kind != Kind::global) dp_E[e] += share * slope(p_E[e]);
        if (kind != Kind::local && !is_met) dp_E[e] -= share * dmean_E.data()[e];
      }
    }
  }

 private:
  template <class S>
  static S slope(S p) {
    return p > 0 ? -(std::log(p) + S(1)) : S(0);
  }

  template <class S>
  static S entropy(const S* p_E, Index experts) {
    S sum = 0;
    for (Index e = 0; e < experts; ++e)
      if (p_E[e] > 0) sum -= p_E[e] * std::log(p_E[e]);
    return sum;
  }

  template <class S>
  bool takes(const Routing<S>& routing, Index t) const {
    return routing.is_valid(t) && (modality < 0 || modality_of_token[static_cast<std::size_t>(t)] == modality);
  }

  /// The sums and means of the probabilities of the tokens that the loss takes; returns how many these are.
  template <class S>
  Index average(const Routing<S>& routing, Vector<detail::Wide<S>>& sum_E, Vector<S>& mean_E) const {
    require(modality < 0 || std::cmp_equal(modality_of_token.size(), routing.tokens()),
            "EntropyLoss: ", modality_of_token.size(), " modality labels for ", routing.tokens(), " tokens");
    require(!detail::has_nan_bits(threshold), "EntropyLoss: threshold is ", threshold);
    const Index experts = routing.experts();
    sum_E.setZero(experts);
    mean_E.resize(experts);
    Index tokens = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!takes(routing, t)) continue;
      detail::add_wide(detail::row_at(routing.probabilities_TE, t), experts, sum_E.data());
      ++tokens;
    }
    const auto divisor = static_cast<detail::Wide<S>>((std::max)(tokens, Index{1}));
    for (Index e = 0; e < experts; ++e) mean_E.data()[e] = static_cast<S>(sum_E.data()[e] / divisor);
    return tokens;
  }
};

MOE_NAMESPACE_END
