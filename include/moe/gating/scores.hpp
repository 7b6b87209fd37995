// Scores of experts that need not be a softmax, and the weights that are made of them.
#pragma once

#include <cstddef>
#include <limits>

#include "moe/core/buffer.hpp"
#include "moe/core/chunk.hpp"
#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/gating/division.hpp"
#include "moe/gating/score_function.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// How scores become weights.
struct ScoreOptions {
  bool normalize = true;    ///< Divide by the sum of the token's chosen scores.
  Epsilon epsilon = 1e-20;  ///< In that sum (llama.cpp: Epsilon::floor(6.1035e-5)).
  double scale = 1;         ///< DeepSeek's routed_scaling_factor.
  bool allow_constant =
      false;  ///< A single choice is meant. Its weight is always the scale, and the router cannot learn.

  constexpr bool operator==(const ScoreOptions&) const = default;
};

/// s = f(logits), one score for each token and expert, with f by name. The weight of a choice is scale * s, or, with
/// `normalize`, scale * s / (sum of the token's chosen s + epsilon). The routing's probabilities are s divided by its
/// sum over all experts. Quotients are computed from logarithms, so they hold where the scores are too small for S.
class Scores {
 public:
  /// The softmax over all experts (DeepSeek-V2).
  static constexpr Scores softmax(const ScoreOptions& options = {}) {
    return {detail::ScoreFunction::softmax, options};
  }
  /// 1 / (1 + exp(-z)) (DeepSeek-V3).
  static constexpr Scores sigmoid(const ScoreOptions& options = {}) {
    return {detail::ScoreFunction::sigmoid, options};
  }
  /// sqrt(log(1 + exp(z))) (DeepSeek-V4).
  static constexpr Scores sqrt_softplus(const ScoreOptions& options = {}) {
    return {detail::ScoreFunction::sqrt_softplus, options};
  }

  constexpr const ScoreOptions& options() const { return options_; }
  constexpr detail::ScoreFunction function() const { return function_; }
  constexpr bool operator==(const Scores&) const = default;

  /// Prepares the workspace for `measure`.
  template <class S>
  static void begin(Routing<S>& routing) {
    routing.scores_TE.resize(routing.tokens(), routing.experts());
    routing.workspace.rows_TE.resize(routing.tokens(), routing.experts());
  }

  /// Writes the scores and probabilities of a token, and into the workspace's rows_TE the logarithms of its scores.
  /// Call `begin` first.
  template <class S>
  void measure(Routing<S>& routing, Index token) const {
    const Index experts = routing.experts();
    S *log_E = detail::row_at(routing.workspace.rows_TE, token), *score_E = detail::row_at(routing.scores_TE, token);
    detail::log_score_row<S>(function_, detail::row_at(routing.weighing_logits_TE(), token), experts, log_E);
    detail::exp_row(log_E, experts, score_E);
    S* p_E = detail::row_at(routing.probabilities_TE, token);
    const S sum = detail::sum_row(score_E, experts);
    constexpr S safe = (std::numeric_limits<S>::min)() / std::numeric_limits<S>::epsilon();
    if (sum > safe && detail::has_finite_bits(sum))
      detail::map_row(experts, p_E, [=](Index e) { return score_E[e] / sum; });
    else  // scores that underflow
      detail::softmax_row(log_E, experts, p_E);
  }

  /// Turns the weights of all choices from logarithms of scores, as `measure` left them, into weights.
  template <class S>
  void divide(Routing<S>& routing) const {
    if (options_.normalize) return division().divide(routing);
    for (Choice<S>& c : routing.choices)
      c.weight = static_cast<S>(options_.scale) * routing.scores_TE(c.token, c.expert);
  }

  /// Scores, probabilities and weights of choices that are made already.
  template <class S>
  void weigh(Routing<S>& routing) const {
    begin(routing);
    for (Index t = 0; t < routing.tokens(); ++t) measure(routing, t);
    for (Choice<S>& c : routing.choices) c.weight = routing.workspace.rows_TE(c.token, c.expert);
    divide(routing);
  }

  /// Adds to the gradients of the logits, given those of the weights and of the probabilities. The way leads through
  /// the logarithms of the scores: p = softmax(log s).
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    const Index experts = routing.experts();
    require_shape("Scores: those of the forward pass", routing.scores_TE, routing.tokens(), experts);
    Buffer<Matrix<S>>& dlog_TE = drouting.workspace.rows_TE;
    dlog_TE.resize(routing.tokens(), experts);
    dlog_TE.setZero();
    if (options_.normalize)
      division().backward(routing, drouting, dlog_TE.data());
    else
      for (std::size_t i = 0; i < routing.choices.size(); ++i) {
        const Choice<S>& c = routing.choices[i];
        detail::row_at(dlog_TE, c.token)[c.expert] += drouting.choices[i].weight * c.weight;
      }
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t)) continue;
      S* dlog_E = detail::row_at(dlog_TE, t);
      const S* p_E = detail::row_at(routing.probabilities_TE, t);
      detail::softmax_row_backward(p_E, detail::row_at(drouting.probabilities_TE, t), experts, dlog_E);
      detail::log_score_row_backward(function_, detail::row_at(routing.weighing_logits_TE(), t), p_E, dlog_E, experts,
                                     detail::row_at(drouting.weighing_logits_TE(), t));
    }
  }

 private:
  /// Throws std::invalid_argument if a number makes no sense.
  constexpr Scores(detail::ScoreFunction function, const ScoreOptions& options)
      : function_(function), options_(options) {
    const double &scale = options.scale, &epsilon = options.epsilon.value;
    if (!(detail::is_finite_setting(scale) && scale > 0 && detail::is_finite_setting(epsilon) && epsilon >= 0))
      require(false, "Scores: scale ", scale, " and epsilon ", epsilon,
              ", they must be finite, more than 0 and at least 0");
  }

  detail::Division division() const { return {options_.epsilon, 1, options_.scale}; }

  detail::ScoreFunction function_;
  ScoreOptions options_;
};

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE void Scores::measure(Routing<float>&, Index) const;
MOE_DETAIL_INSTANCE void Scores::backward(const Routing<float>&, Routing<float>&) const;
MOE_DETAIL_INSTANCE void Scores::measure(Routing<double>&, Index) const;
MOE_DETAIL_INSTANCE void Scores::backward(const Routing<double>&, Routing<double>&) const;
#endif

MOE_NAMESPACE_END
