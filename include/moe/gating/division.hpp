// Weights that are divided by the sum of their token's weights, and the gradient of that division.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "moe/core/core.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// The small number beside a sum that divides. A plain number is added: sum + epsilon (Mesh TensorFlow 1e-9,
/// DeepSeek-V3 1e-20). Epsilon::floor makes it the least divisor: max(sum, epsilon) (lucidrains' ST-MoE 1e-9, Tutel,
/// llama.cpp 6.1035e-5).
struct Epsilon {
  double value = 0;
  bool is_floor = false;

  constexpr Epsilon() = default;
  constexpr Epsilon(double added) : value(added) {}  // NOLINT(google-explicit-constructor)

  static constexpr Epsilon floor(double least_divisor) {
    Epsilon epsilon{least_divisor};
    epsilon.is_floor = true;
    return epsilon;
  }

  constexpr bool operator==(const Epsilon&) const = default;
};

namespace detail {

/// Weights from the logarithms l of the chosen experts' scores s = exp(l): scale * s / (norm + epsilon), or scale * s /
/// max(norm, epsilon), where norm = (sum of the token's chosen s^q)^(1/q). A score may be too small for S, so the
/// function exponentiates its distance from the largest score of the token. The choices may come in any order, and any
/// number of them may belong to a token.
struct Division {
  Epsilon epsilon = {};
  double q = 1;
  double scale = 1;

  constexpr bool operator==(const Division&) const = default;

  /// Before the call the weight of each choice is l plus a number that is the same for all choices of a token; after
  /// it, the weight. Weights that are not l are the logits of a softmax: `logits_TE`.
  template <class S>
  void divide(Routing<S>& routing, const Matrix<S>* logits_TE = nullptr) const {
    Vector<S>&largest_T = routing.workspace.token_T, &total_T = routing.workspace.token2_T;
    largest_T.resize(routing.tokens());
    total_T.setZero(routing.tokens());
    for (const Choice<S>& c : routing.choices) largest_T(c.token) = c.weight;
    for (const Choice<S>& c : routing.choices) largest_T(c.token) = (std::max)(largest_T(c.token), c.weight);
    for (Choice<S>& c : routing.choices) {
      // Infinite scores count 1 each.
      c.weight = c.weight == largest_T(c.token) ? S(1) : std::exp(c.weight - largest_T(c.token));
      total_T(c.token) += power(c.weight);
    }
    for (Index t = 0; t < routing.tokens(); ++t) {  // from sums to divisors
      if (!(total_T(t) > S(0))) continue;
      total_T(t) = root(total_T(t));
      if (epsilon.value == 0) continue;
      const S log_largest = logits_TE != nullptr ? log_probability(routing, *logits_TE, t, largest_T(t)) : largest_T(t);
      const S shifted = std::exp(static_cast<S>(std::log(epsilon.value)) - log_largest);
      total_T(t) = epsilon.is_floor ? (std::max)(total_T(t), shifted) : total_T(t) + shifted;
    }
    for (Choice<S>& c : routing.choices) c.weight = static_cast<S>(scale) * c.weight / total_T(c.token);
  }

  /// Adds the dl of each choice to dl_TE, and to its token's dl_sum_T where that is asked for, given the gradients of
  /// the weights in `drouting`. With w = scale s / (norm + epsilon): dl_j = w_j (dw_j - (s_j / norm)^(q - 1) sum_i dw_i
  /// w_i / scale). The sum is 0 where norm is below the floor.
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting, S* dl_TE, S* dl_sum_T = nullptr) const {
    Vector<S>&inner_T = drouting.workspace.token_T, &norm_T = drouting.workspace.token2_T;
    inner_T.setZero(routing.tokens());
    norm_T.setZero(routing.tokens());
    const S share = S(1) / static_cast<S>(scale);
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      inner_T(c.token) += drouting.choices[i].weight * c.weight * share;
      norm_T(c.token) += power(c.weight * share);
    }
    // As a share of the divisor the norm is 1; it is less where epsilon was added, and less at the floor.
    constexpr S below_one = S(1) - 64 * std::numeric_limits<S>::epsilon();
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      const S norm = root(norm_T(c.token));
      const bool at_floor = epsilon.is_floor && epsilon.value > 0 && norm < below_one;
      const S inner = at_floor ? S(0) : inner_T(c.token);
      const S slope = q == 1 || c.weight == S(0) ? S(1) : std::pow(c.weight * share / norm, static_cast<S>(q - 1));
      const S dl = c.weight * (drouting.choices[i].weight - slope * inner);
      dl_TE[c.token * routing.experts() + c.expert] += dl;
      if (dl_sum_T != nullptr) dl_sum_T[c.token] += dl;
    }
  }

 private:
  /// logit - log sum exp; the logit and the probability of the most probable expert tell the latter.
  template <class S>
  static S log_probability(const Routing<S>& routing, const Matrix<S>& logits_TE, Index token, S logit) {
    const S best = largest(row_at(logits_TE, token), routing.experts());
    const S best_p = largest(row_at(routing.probabilities_TE, token), routing.experts());
    return (logit == best ? S(0) : logit - best) + std::log(best_p);
  }
  template <class S>
  S power(S score) const {
    return q == 1 ? score : std::pow(score, static_cast<S>(q));
  }
  template <class S>
  S root(S sum) const {
    return q == 1 ? sum : std::pow(sum, static_cast<S>(1 / q));
  }
};

}  // namespace detail

MOE_NAMESPACE_END
