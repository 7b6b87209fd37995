// Balance of tokens where experts choose: none should be everyone's favourite, and none left over.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/loss/groups.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// n * sum over a group's n tokens of (mean over experts of p_te)^2, and the mean over groups; p the softmax of each
/// expert over the group's tokens: for ExpertChoice{.softmax_axis = ExpertChoice::Axis::tokens} (the loss of mesh's
/// expert-selection gating). 1, the least, if every token gets the same. Without padding; 0 for an empty batch.
struct TokenBalanceLoss {
  double coefficient = 1e-2;

  static constexpr std::string_view name() { return "token_balance"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    detail::Wide<S> sum = 0;
    std::vector<Index> tokens;
    for_each_token(routing, tokens, [&](Index, S mean, S share) { sum += share * mean * mean; });
    return static_cast<S>(sum);
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    const S factor = scale * S(2) / static_cast<S>(routing.experts());
    for_each_token(routing, drouting.workspace.indices, [&](Index t, S mean, S share) {
      S* dp_E = detail::row_at(drouting.probabilities_TE, t);
      for (Index e = 0; e < routing.experts(); ++e) dp_E[e] += factor * share * mean;
    });
  }

 private:
  /// Calls f(token, mean over experts of p, n of its group / number of groups that have a token).
  template <class S, class F>
  static void for_each_token(const Routing<S>& routing, std::vector<Index>& tokens, F&& f) {
    const Index size = routing.rows_of_group(), experts = routing.experts();
    const Index used = detail::count_group_tokens(routing, size, tokens);
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t))
        f(t, detail::sum_row(detail::row_at(routing.probabilities_TE, t), experts) / static_cast<S>(experts),
          static_cast<S>(tokens[static_cast<std::size_t>(t / size)]) / static_cast<S>(used));
  }
};

MOE_NAMESPACE_END
