// The weights of choices, whoever made them, and their gradients.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string_view>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// What a chosen expert's output is multiplied with; p = softmax(logits) over all experts.
enum class ChoiceWeights {
  softmax_of_chosen,  ///< softmax over the token's chosen logits (Shazeer et al. 2017 eq. 3; Megatron-Core's default,
                      ///< gpt-oss). The same as `renormalized` with epsilon 0.
  renormalized,       ///< p / (sum of the token's chosen p + epsilon) (Mixtral, Qwen3; DeepSeek-V3 with epsilon 1e-20)
  probabilities,      ///< p as it is (Switch, V-MoE, OLMoE, DeepSeek-V2)
  uniform,            ///< 1 / number of the token's choices: the task then teaches the router nothing.
};

/// How the epsilon of `renormalized` enters.
enum class Epsilon {
  added,  ///< p / (sum + epsilon) (mesh 1e-9, DeepSeek-V3 1e-20)
  floor,  ///< p / max(sum, epsilon) (lucidrains' ST-MoE 1e-9, Tutel)
};

namespace detail {

/// Throws std::invalid_argument if weights that are divided by their sum could only ever be 1: of a gate that sends a
/// token to one expert, where there are several. The task would then teach the router nothing. `what` names the
/// setting, `instead` what to use; `allow` is the user's word that it is meant.
inline void require_weights_that_differ(std::string_view what, bool divided, Index most_choices, Index experts,
                                        bool allow, std::string_view instead) {
  require(!divided || allow || most_choices != 1 || experts == 1, what,
          " the normalised weight is always the same and the router learns nothing from the task; use ", instead,
          ", or allow_constant_weights = true if that is meant");
}

/// Weights from the logarithms l of the chosen experts' scores s = exp(l): scale * s / (norm + epsilon), or scale * s /
/// max(norm, epsilon), where norm = (sum of the token's chosen s^q)^(1/q). Scores may be too small for S: what is
/// exponentiated is their distance from the token's largest one. Works on choices in any order and number.
struct Division {
  double epsilon = 0;
  Epsilon epsilon_is = Epsilon::added;
  double q = 1;
  double scale = 1;

  /// On entry each choice weighs l plus a number that is the same for all choices of a token.
  /// `log_largest(token, weight)` gives l of its choice with the largest such weight; asked for an epsilon only.
  template <class S, class F>
  void divide(Routing<S>& routing, F&& log_largest) const {
    Vector<S>&largest_T = routing.workspace.token_T, &total_T = routing.workspace.token2_T;
    largest_T.resize(routing.tokens());
    total_T.setZero(routing.tokens());
    for (const Choice<S>& c : routing.choices) largest_T(c.token) = c.weight;
    for (const Choice<S>& c : routing.choices) largest_T(c.token) = (std::max)(largest_T(c.token), c.weight);
    for (Choice<S>& c : routing.choices) {
      // of several infinite ones each counts 1
      c.weight = c.weight == largest_T(c.token) ? S(1) : std::exp(c.weight - largest_T(c.token));
      total_T(c.token) += powered(c.weight);
    }
    for (Index t = 0; t < routing.tokens(); ++t) {  // from sums to divisors
      if (!(total_T(t) > S(0))) continue;
      total_T(t) = rooted(total_T(t));
      if (epsilon == 0) continue;
      const S shifted = std::exp(static_cast<S>(std::log(epsilon)) - log_largest(t, largest_T(t)));
      total_T(t) = epsilon_is == Epsilon::added ? total_T(t) + shifted : (std::max)(total_T(t), shifted);
    }
    for (Choice<S>& c : routing.choices) c.weight = static_cast<S>(scale) * c.weight / total_T(c.token);
  }

  /// Calls f(choice, d l) for each choice, from the gradients of the weights. w = scale s / (norm + epsilon): d l_j =
  /// w_j (dw_j - (s_j / norm)^(q - 1) sum_i dw_i w_i / scale), without the sum where norm is below the floor.
  template <class S, class F>
  void backward(const Routing<S>& routing, Routing<S>& drouting, F&& f) const {
    Vector<S>&inner_T = drouting.workspace.token_T, &norm_T = drouting.workspace.token2_T;
    inner_T.setZero(routing.tokens());
    norm_T.setZero(routing.tokens());
    const S share = S(1) / static_cast<S>(scale);
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      inner_T(c.token) += drouting.choices[i].weight * c.weight * share;
      norm_T(c.token) += powered(c.weight * share);
    }
    // In shares of the divisor the norm is 1, less where epsilon is added, and less at the floor.
    constexpr S below_one = S(1) - 64 * std::numeric_limits<S>::epsilon();
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      const S norm = rooted(norm_T(c.token));
      const bool at_floor = epsilon > 0 && epsilon_is == Epsilon::floor && norm < below_one;
      const S inner = at_floor ? S(0) : inner_T(c.token);
      const S slope = q == 1 || c.weight == S(0) ? S(1) : std::pow(c.weight * share / norm, static_cast<S>(q - 1));
      f(c, c.weight * (drouting.choices[i].weight - slope * inner));
    }
  }

 private:
  template <class S>
  S powered(S p) const {
    return q == 1 ? p : std::pow(p, static_cast<S>(q));
  }
  template <class S>
  S rooted(S sum) const {
    return q == 1 ? sum : std::pow(sum, static_cast<S>(1 / q));
  }
};

/// Works on choices in any order and number.
struct Weighing {
  ChoiceWeights weights;
  double epsilon = 0;
  Epsilon epsilon_is = Epsilon::added;
  double norm = 1;  // q of Division

  /// Whether the weights of a token are divided by their sum.
  bool divides() const { return weights == ChoiceWeights::softmax_of_chosen || weights == ChoiceWeights::renormalized; }

  /// Throws std::invalid_argument, in the name of `gate`, if a number makes no sense.
  void check(std::string_view gate) const {
    require(epsilon >= 0 && epsilon < 1, gate, ": epsilon is ", epsilon, ", it must be in [0, 1)");
    require(norm >= 1 && norm <= 7, gate, ": norm is ", norm, ", it must be in [1, 7]: beyond, powers underflow");
  }

  /// Sets the weights of all choices, from `routing.probabilities_TE` and the logits that weigh.
  template <class S>
  void weigh(Routing<S>& routing) const {
    const Matrix<S>& logits_TE = routing.weighing_logits_TE();
    for (Choice<S>& c : routing.choices)
      c.weight = weights == ChoiceWeights::probabilities ? routing.probabilities_TE(c.token, c.expert)
                 : weights == ChoiceWeights::uniform     ? S(0)
                                                         : logits_TE(c.token, c.expert);
    if (weights == ChoiceWeights::probabilities) return;
    division().divide(routing, [&](Index t, S largest) {
      // log p = logit - log sum exp, which the most probable expert's two numbers tell
      const S best = detail::largest(logits_TE.row(t).data(), routing.experts());
      const S best_p = detail::largest(routing.probabilities_TE.row(t).data(), routing.experts());
      return (largest == best ? S(0) : largest - best) + std::log(best_p);
    });
  }

  /// From the gradients of the weights and of the probabilities to those of the logits that weigh.
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    Matrix<S>& dlogits_TE = drouting.weighing_logits_TE();
    Buffer<Matrix<S>>& sum_T = drouting.workspace.rows_TE;  // of d log p, where it is not 0
    const bool has_sum = epsilon > 0 && weights == ChoiceWeights::renormalized;
    if (has_sum) {
      sum_T.resize(routing.tokens(), 1);
      sum_T.setZero();
    }
    if (weights == ChoiceWeights::probabilities) {
      for (std::size_t i = 0; i < routing.choices.size(); ++i)
        drouting.probabilities_TE(routing.choices[i].token, routing.choices[i].expert) += drouting.choices[i].weight;
    } else if (divides()) {
      division().backward(routing, drouting, [&](const Choice<S>& c, S dlogit) {
        dlogits_TE(c.token, c.expert) += dlogit;
        if (has_sum) sum_T(c.token, 0) += dlogit;
      });
    }
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t))
        softmax_row_backward(routing.probabilities_TE.row(t).data(), drouting.probabilities_TE.row(t).data(),
                             routing.experts(), dlogits_TE.row(t).data(), has_sum ? sum_T(t, 0) : S(0));
  }

 private:
  /// softmax_of_chosen is `renormalized` without an epsilon.
  Division division() const {
    return weights == ChoiceWeights::renormalized ? Division{epsilon, epsilon_is, norm} : Division{};
  }
};

}  // namespace detail

MOE_NAMESPACE_END
