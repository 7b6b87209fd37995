// Scores of experts that need not be a softmax, and the weights that are made of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>

#include "moe/core.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/kernel/activations.hpp"
#include "moe/kernel/buffer.hpp"
#include "moe/kernel/chunk.hpp"
#include "moe/kernel/softmax.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// s = score(logits). A choice weighs scale * s, or scale * s / (sum of the token's chosen s + epsilon), or / max(sum,
/// epsilon). The routing's probabilities are s divided by their sum over all experts.
struct Scores {
  enum class Score {
    softmax,
    sigmoid,        ///< 1 / (1 + exp(-z)) (DeepSeek-V3)
    sqrt_softplus,  ///< sqrt(log(1 + exp(z))) (DeepSeek-V4)
  };

  Score score = Score::sigmoid;
  bool normalize = true;
  double epsilon = 1e-20;
  Epsilon epsilon_is = Epsilon::added;  ///< llama.cpp: a floor, 6.1035e-5.
  double scale = 1;                     ///< DeepSeek's routed_scaling_factor.

  /// Throws std::invalid_argument, in the name of `gate`, if a number makes no sense.
  void check(std::string_view gate) const {
    detail::require(detail::has_finite_bits(scale) && scale > 0 && detail::has_finite_bits(epsilon) && epsilon >= 0,
                    gate, ": scale ", scale, " and epsilon ", epsilon,
                    ", they must be finite, more than 0 and at least 0");
  }

  /// The scores and probabilities of a token; `routing.scores_TE` has its size.
  template <class S>
  void measure(Routing<S>& routing, Index token) const {
    S* score_E = routing.scores_TE.row(token).data();
    score_row(routing.weighing_logits_TE().row(token).data(), routing.experts(), score_E);
    routing.probabilities_TE.row(token) = routing.scores_TE.row(token) / detail::sum_row(score_E, routing.experts());
  }

  /// From choices that weigh their scores to their weights.
  template <class S>
  void divide(Routing<S>& routing) const {
    Vector<S>& sum_T = routing.workspace.token_T;
    sum_T.setZero(routing.tokens());
    for (const Choice<S>& c : routing.choices) sum_T(c.token) += c.weight;
    for (Choice<S>& c : routing.choices) c.weight = static_cast<S>(scale) * c.weight / divisor(sum_T(c.token));
  }

  /// All of the above, for choices that others made.
  template <class S>
  void weigh(Routing<S>& routing) const {
    routing.scores_TE.resize(routing.tokens(), routing.experts());
    for (Index t = 0; t < routing.tokens(); ++t) measure(routing, t);
    for (Choice<S>& c : routing.choices) c.weight = routing.scores_TE(c.token, c.expert);
    divide(routing);
  }

  /// From the gradients of the weights and of the probabilities to those of the logits that weigh.
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    const Index experts = routing.experts();
    Vector<S>& inner_T = drouting.workspace.token_T;   // sum over a token's choices of dweight * weight
    Vector<S>& total_T = drouting.workspace.token2_T;  // what its scores are divided by
    inner_T.setZero(routing.tokens());
    total_T.setZero(routing.tokens());
    Buffer<Matrix<S>>& dscore_TE = drouting.workspace.rows_TE;
    dscore_TE.resize(routing.tokens(), experts);
    dscore_TE.setZero();
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      if (!normalize) continue;
      inner_T(c.token) += drouting.choices[i].weight * c.weight;
      total_T(c.token) += routing.scores_TE(c.token, c.expert);
    }
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      // w = scale s / (sum s + epsilon): ds = (scale dw - sum dw w) / (sum s + epsilon)
      const Choice<S>& c = routing.choices[i];
      const S inner = is_at_floor(total_T(c.token)) ? S(0) : inner_T(c.token);
      dscore_TE(c.token, c.expert) +=
          (static_cast<S>(scale) * drouting.choices[i].weight - inner) / divisor(total_T(c.token));
    }
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t)) continue;
      // p = s / sum s: ds = (dp - sum dp p) / sum s
      const auto p = routing.probabilities_TE.row(t);
      const auto dp = drouting.probabilities_TE.row(t);
      const S sum = detail::sum_row(routing.scores_TE.row(t).data(), experts);
      dscore_TE.row(t).array() += (dp.array() - detail::dot_rows(dp.data(), p.data(), experts)) / sum;
      score_row_backward(routing.weighing_logits_TE().row(t).data(), routing.scores_TE.row(t).data(),
                         dscore_TE.row(t).data(), experts, drouting.weighing_logits_TE().row(t).data());
    }
  }

  template <class S>
  void score_row(const S* logits, Index experts, S* scores) const {
    if (score == Score::softmax) {
      detail::softmax_row(logits, experts, scores);
      return;
    }
    using Chunk = detail::Chunk<S>;
    const bool is_sigmoid = score == Score::sigmoid;
    const auto scored = [is_sigmoid](const Chunk& z) -> Chunk {
      if (is_sigmoid) return detail::sigmoid<S>(z);
      return ((z.max)(S(0)) + (-z.abs()).exp().log1p()).sqrt();
    };
    detail::map_chunks(experts, scores, scored, logits);
  }

 private:
  template <class S>
  bool is_at_floor(S sum) const {
    return normalize && epsilon_is == Epsilon::floor && sum < static_cast<S>(epsilon);
  }

  /// What the selected scores, which add up to `sum`, are divided by.
  template <class S>
  S divisor(S sum) const {
    if (!normalize) return S(1);
    return epsilon_is == Epsilon::added ? sum + static_cast<S>(epsilon) : (std::max)(sum, static_cast<S>(epsilon));
  }

  template <class S>
  void score_row_backward(const S* logits, const S* scores, const S* dscores, Index experts, S* dlogits) const {
    if (score == Score::softmax) {
      detail::softmax_row_backward(scores, dscores, experts, dlogits);
      return;
    }
    for (Index e = 0; e < experts; ++e) {
      if (score == Score::sigmoid) {
        dlogits[e] += dscores[e] * scores[e] * (S(1) - scores[e]);
      } else {  // d sqrt(softplus(z)) = sigmoid(z) / (2 s)
        const S decay = std::exp(-std::abs(logits[e]));
        const S sigmoid = (logits[e] >= 0 ? S(1) : decay) / (S(1) + decay);
        if (scores[e] > 0) dlogits[e] += dscores[e] * sigmoid / (S(2) * scores[e]);
      }
    }
  }
};

MOE_NAMESPACE_END
