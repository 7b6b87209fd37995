// The importance loss: experts should get equal shares of the gate's weight.
#pragma once

#include <cstddef>
#include <string_view>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/loss/variation.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// CV^2 of importance_e = sum over tokens of G(token, e) (Shazeer et al. 2017, eq. 6 and 7). 0 for an empty batch or a
/// single expert.
struct ImportanceLoss {
  enum class Source {
    weights,              ///< G = the weights of the choices, before dropping (Shazeer, tensor2tensor, FastMoE)
    clean_probabilities,  ///< G = softmax of the logits without noise, over all experts (V-MoE, Tutel)
  };

  double coefficient = 1e-2;
  Source source = Source::weights;
  Variance variance = Variance::population;
  double epsilon = 1e-10;  ///< Added to mean^2; V-MoE has none.

  static constexpr std::string_view name() { return "importance"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    Vector<detail::Wide<S>> importance_E;
    Vector<S> row_E;
    sum_importance(routing, row_E, importance_E);
    return static_cast<S>(detail::squared_variation(importance_E, variance, epsilon));
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    Vector<detail::Wide<S>>& importance_E = drouting.workspace.sums_E;
    Vector<S>&row_E = drouting.workspace.expert_E, &dimportance_E = drouting.workspace.expert2_E;
    sum_importance(routing, row_E, importance_E);
    detail::squared_variation_gradient(importance_E, variance, epsilon, dimportance_E);
    detail::set_scaled_row(scale, dimportance_E.data(), routing.experts(), dimportance_E.data());
    if (source == Source::weights) {
      for (std::size_t i = 0; i < routing.choices.size(); ++i)
        drouting.choices[i].weight += dimportance_E.data()[routing.choices[i].expert];
    } else {
      for_each_clean_row(routing, row_E, [&](Index t) {
        detail::softmax_row_backward(row_E.data(), dimportance_E.data(), routing.experts(),
                                     detail::row_at(drouting.logits_TE, t));
      });
    }
  }

 private:
  /// Calls f(token) for the tokens, with `row_E` = softmax of the token's logits without noise.
  template <class S, class F>
  static void for_each_clean_row(const Routing<S>& routing, Vector<S>& row_E, F&& f) {
    row_E.resize(routing.experts());
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t)) continue;
      detail::softmax_row(detail::row_at(routing.logits_TE, t), routing.experts(), row_E.data());
      f(t);
    }
  }

  /// `row_E` holds one token's probabilities meanwhile.
  template <class S>
  void sum_importance(const Routing<S>& routing, Vector<S>& row_E, Vector<detail::Wide<S>>& importance_E) const {
    const Index experts = routing.experts();
    importance_E.setZero(experts);
    if (source == Source::weights) {
      for (const Choice<S>& c : routing.choices) importance_E.data()[c.expert] += c.weight;
    } else {
      for_each_clean_row(routing, row_E, [&](Index) { detail::add_wide(row_E.data(), experts, importance_E.data()); });
    }
  }
};

MOE_NAMESPACE_END
