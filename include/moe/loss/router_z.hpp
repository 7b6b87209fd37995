// The router z-loss: logits should stay small.
#pragma once

#include <algorithm>
#include <string_view>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Mean over tokens of logsumexp(logits)^2, of the logits without noise (Zoph et al. 2022, ST-MoE, eq. 5). Without
/// padding; 0 for an empty batch. Not normalised for E: logits of 0 cost (ln E)^2, the least, 0, lies at
/// logsumexp = 0.
struct RouterZLoss {
  double coefficient = 1e-3;

  static constexpr std::string_view name() { return "router_z"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    Vector<S> row_E;
    detail::Wide<S> sum = 0;
    for_each_token(routing, row_E, [&](Index, S z) { sum += z * z; });
    return static_cast<S>(sum / static_cast<detail::Wide<S>>((std::max)(routing.valid_tokens, Index{1})));
  }

  /// d z^2 = 2 z softmax(logits)
  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    Vector<S>& row_E = drouting.workspace.expert_E;
    for_each_token(routing, row_E, [&](Index t, S z) {
      const S slope = scale * S(2) * z / static_cast<S>(routing.valid_tokens);
      detail::add_scaled_row(slope, row_E.data(), routing.experts(), detail::row_at(drouting.logits_TE, t));
    });
  }

 private:
  /// Calls f(token, logsumexp of its logits) with their softmax in row_E.
  template <class S, class F>
  static void for_each_token(const Routing<S>& routing, Vector<S>& row_E, F&& f) {
    row_E.resize(routing.experts());
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t))
        f(t, detail::softmax_row(detail::row_at(routing.logits_TE, t), routing.experts(), row_E.data()).log());
  }
};

MOE_NAMESPACE_END
