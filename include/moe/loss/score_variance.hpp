// Reward for probabilities that differ from token to token: the router should tell tokens apart.
#pragma once

#include <algorithm>
#include <string_view>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// -(mean over experts of the variance over tokens of p_te) (arXiv 2505.22323); the variance of a population, so
/// that it is between -1/4 and 0. Without padding; 0 for an empty batch.
struct ScoreVarianceLoss {
  double coefficient = 1e-2;

  static constexpr std::string_view name() { return "score_variance"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    const Vector<S> mean_E = means(routing);
    detail::Wide<S> sum = 0;
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t))
        sum += detail::squared_distance(detail::row_at(routing.probabilities_TE, t), mean_E.data(), routing.experts());
    return static_cast<S>(-sum / static_cast<detail::Wide<S>>(terms(routing)));
  }

  /// d p_te = -2 (p_te - mean_e) / (E n): that of the mean sums up to 0.
  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    const Vector<S> mean_E = means(routing);
    const S factor = S(-2) * scale / static_cast<S>(terms(routing));
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t))
        detail::add_scaled_difference(factor, detail::row_at(routing.probabilities_TE, t), mean_E.data(),
                                      routing.experts(), detail::row_at(drouting.probabilities_TE, t));
  }

 private:
  template <class S>
  static Index terms(const Routing<S>& routing) {
    return (std::max)(routing.valid_tokens * routing.experts(), Index{1});
  }

  template <class S>
  static Vector<S> means(const Routing<S>& routing) {
    Vector<S> mean_E = Vector<S>::Zero(routing.experts());
    const auto add = [&](Index t, Index first, Index count, S* sums) {
      if (!routing.is_valid(t)) return false;
      detail::add_scaled_row(S(1), detail::row_at(routing.probabilities_TE, t) + first, count, sums);
      return true;
    };
    detail::add_terms<S>(routing.tokens(), routing.experts(), mean_E.data(), add);
    const auto tokens = static_cast<S>((std::max)(routing.valid_tokens, Index{1}));
    for (S& mean : mean_E) mean /= tokens;
    return mean_E;
  }
};

MOE_NAMESPACE_END
