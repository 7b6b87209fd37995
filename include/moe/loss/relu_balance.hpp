// The loss of ReLU routing: few weights that are not 0, and as many for each expert.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// E / (k n^2) * sum over experts of n_e * (sum over tokens of w_te), n_e the tokens that chose expert e, which count
/// as constants, n all tokens (ReMoE, Wang et al. 2024: the sum of |w| with the balance of Switch in it). For
/// ReluRouting; SparsityControl finds the coefficient. Without padding; 0 for an empty batch.
struct ReluBalanceLoss {
  double coefficient = 1e-8;
  Index k = 1;  ///< How many experts a token shall have, in the mean.

  static constexpr std::string_view name() { return "relu_balance"; }

  void check(Index experts) const {
    require(k >= 1 && k <= experts, "ReluBalanceLoss: k is ", k, ", it must be 1 or more and at most the number of ",
            "experts, ", experts);
  }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    const std::vector<Index> chosen = count(routing);
    Vector<detail::Wide<S>> sum_E = Vector<detail::Wide<S>>::Zero(routing.experts());
    for (const Choice<S>& c : routing.choices) sum_E.data()[c.expert] += static_cast<detail::Wide<S>>(c.weight);
    detail::Wide<S> sum = 0;
    for (Index e = 0; e < routing.experts(); ++e)
      sum += static_cast<detail::Wide<S>>(chosen[static_cast<std::size_t>(e)]) * sum_E.data()[e];
    return static_cast<S>(sum * static_cast<detail::Wide<S>>(factor(routing)));
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    const std::vector<Index> chosen = count(routing);
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const auto counted = static_cast<double>(chosen[static_cast<std::size_t>(routing.choices[i].expert)]);
      drouting.choices[i].weight += scale * static_cast<S>(factor(routing) * counted);
    }
  }

 private:
  template <class S>
  static std::vector<Index> count(const Routing<S>& routing) {
    std::vector<Index> chosen(static_cast<std::size_t>(routing.experts()), 0);
    for (const Choice<S>& c : routing.choices) ++chosen[static_cast<std::size_t>(c.expert)];
    return chosen;
  }

  template <class S>
  double factor(const Routing<S>& routing) const {
    const auto tokens = static_cast<double>((std::max)(routing.valid_tokens, Index{1}));
    return static_cast<double>(routing.experts()) / (static_cast<double>(k) * tokens * tokens);
  }
};

MOE_NAMESPACE_END
