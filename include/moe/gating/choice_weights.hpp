// The weights of choices, whoever made them, and their gradients.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>

#include "moe/core.hpp"
#include "moe/kernel/softmax.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// What a chosen expert's output is multiplied with; p = softmax(logits) over all experts.
enum class ChoiceWeights {
  softmax_of_chosen,  ///< softmax over the token's chosen logits (Shazeer et al. 2017 eq. 3; Megatron-Core's default,
                      ///< gpt-oss). In exact arithmetic `renormalized` with epsilon 0, and safe where p underflows.
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

/// Works on choices in any order and number.
struct Weighing {
  ChoiceWeights weights;
  double epsilon = 0;
  Epsilon epsilon_is = Epsilon::added;
  double norm = 1;  // q: the sum is (sum of p^q)^(1/q)

  /// Throws std::invalid_argument, in the name of `gate`, if a number makes no sense.
  void check(std::string_view gate) const {
    require(epsilon >= 0 && epsilon < 1, gate, ": epsilon is ", epsilon, ", it must be in [0, 1)");
    require(norm >= 1 && norm <= 7, gate, ": norm is ", norm, ", it must be in [1, 7]: beyond, powers underflow");
  }

  /// Sets the weights of all choices, from `routing.probabilities_TE` and the logits that weigh.
  template <class S>
  void weigh(Routing<S>& routing) const {
    Vector<S>&total_T = routing.workspace.token_T, &shift_T = routing.workspace.token2_T;
    total_T.setZero(routing.tokens());
    if (weights == ChoiceWeights::softmax_of_chosen) {
      const Matrix<S>& logits_TE = routing.weighing_logits_TE();
      shift_T.resize(routing.tokens());
      for (const Choice<S>& c : routing.choices) shift_T(c.token) = logits_TE(c.token, c.expert);
      for (const Choice<S>& c : routing.choices)
        shift_T(c.token) = (std::max)(shift_T(c.token), logits_TE(c.token, c.expert));
      for (Choice<S>& c : routing.choices) c.weight = relative(logits_TE(c.token, c.expert), shift_T(c.token));
    } else if (weights == ChoiceWeights::uniform) {
      for (Choice<S>& c : routing.choices) c.weight = S(1);
    } else {
      for (Choice<S>& c : routing.choices) c.weight = routing.probabilities_TE(c.token, c.expert);
      if (weights == ChoiceWeights::probabilities) return;
    }
    for (const Choice<S>& c : routing.choices) total_T(c.token) += powered(c.weight);
    for (Choice<S>& c : routing.choices) c.weight /= divisor(rooted(total_T(c.token)));
  }

  /// From the gradients of the weights and of the probabilities to those of the logits that weigh.
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    Matrix<S>& dlogits_TE = drouting.weighing_logits_TE();
    Vector<S>& inner_T = drouting.workspace.token_T;   // sum over a token's choices of dweight * weight
    Vector<S>& total_T = drouting.workspace.token2_T;  // and of p
    inner_T.setZero(routing.tokens());
    total_T.setZero(routing.tokens());
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      inner_T(c.token) += drouting.choices[i].weight * c.weight;
      total_T(c.token) += powered(routing.probabilities_TE(c.token, c.expert));
    }
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      const S dw = drouting.choices[i].weight;
      if (weights == ChoiceWeights::softmax_of_chosen) {  // w = softmax(z): dz = w (dw - sum dw w)
        dlogits_TE(c.token, c.expert) += c.weight * (dw - inner_T(c.token));
      } else if (weights == ChoiceWeights::renormalized) {
        // w = p / (s + epsilon), s = (sum p^q)^(1/q): dp = (dw - ds sum dw w) / (s + epsilon), ds = (p / s)^(q - 1); at
        // the floor w = p / epsilon
        const S s = rooted(total_T(c.token));
        const bool at_floor = epsilon_is == Epsilon::floor && s < static_cast<S>(epsilon);
        const S inner = at_floor ? S(0) : inner_T(c.token);
        const S ds =
            norm == 1 ? S(1) : std::pow(routing.probabilities_TE(c.token, c.expert) / s, static_cast<S>(norm - 1));
        drouting.probabilities_TE(c.token, c.expert) += (dw - ds * inner) / divisor(s);
      } else if (weights == ChoiceWeights::probabilities) {
        drouting.probabilities_TE(c.token, c.expert) += dw;
      }
    }
    for (Index t = 0; t < routing.tokens(); ++t)
      if (routing.is_valid(t))
        softmax_row_backward(routing.probabilities_TE.row(t).data(), drouting.probabilities_TE.row(t).data(),
                             routing.experts(), dlogits_TE.row(t).data());
  }

 private:
  template <class S>
  S powered(S p) const {
    return norm == 1 || weights != ChoiceWeights::renormalized ? p : std::pow(p, static_cast<S>(norm));
  }

  template <class S>
  S rooted(S sum) const {
    return norm == 1 || weights != ChoiceWeights::renormalized ? sum : std::pow(sum, static_cast<S>(1 / norm));
  }

  /// exp(logit - largest); of several infinite ones each counts 1.
  template <class S>
  static S relative(S logit, S largest) {
    return logit == largest ? S(1) : std::exp(logit - largest);
  }

  template <class S>
  S divisor(S sum) const {
    if (weights != ChoiceWeights::renormalized) return sum;
    return epsilon_is == Epsilon::added ? sum + static_cast<S>(epsilon) : (std::max)(sum, static_cast<S>(epsilon));
  }
};

}  // namespace detail

MOE_NAMESPACE_END
