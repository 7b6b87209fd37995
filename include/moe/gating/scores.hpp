// Scores of experts that need not be a softmax, and the weights that are made of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string_view>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/sigmoid_weights.hpp"
#include "moe/kernel/chunk.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// s = score(logits). A choice weighs scale * s, or scale * s / (sum of the token's chosen s + epsilon), or / max(sum,
/// epsilon). The routing's probabilities are s divided by their sum over all experts. Quotients are computed from
/// logarithms: they hold where the scores themselves are too small for S.
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
    require(detail::has_finite_bits(scale) && scale > 0 && detail::has_finite_bits(epsilon) && epsilon >= 0, gate,
            ": scale ", scale, " and epsilon ", epsilon, ", they must be finite, more than 0 and at least 0");
  }

  /// Room for the logarithms of all scores, which `measure` writes and `divide` exponentiates.
  template <class S>
  static void begin(Routing<S>& routing) {
    routing.scores_TE.resize(routing.tokens(), routing.experts());
    routing.workspace.rows_TE.resize(routing.tokens(), routing.experts());
  }

  /// The scores and probabilities of a token, and the logarithms of its scores; after `begin`.
  template <class S>
  void measure(Routing<S>& routing, Index token) const {
    const Index experts = routing.experts();
    S *log_E = routing.workspace.rows_TE.row(token).data(), *score_E = routing.scores_TE.row(token).data();
    log_score_row(routing.weighing_logits_TE().row(token).data(), experts, log_E);
    exp_row(log_E, experts, score_E);
    S* p_E = routing.probabilities_TE.row(token).data();
    const S sum = detail::sum_row(score_E, experts);
    constexpr S safe = (std::numeric_limits<S>::min)() / std::numeric_limits<S>::epsilon();
    if (sum > safe && detail::has_finite_bits(sum))
      detail::map_chunks(
          experts, p_E, [sum](const detail::Chunk<S>& s) -> detail::Chunk<S> { return s / sum; }, score_E);
    else  // scores that underflow
      detail::softmax_row(log_E, experts, p_E);
  }

  /// From choices that weigh the logarithms of their scores to their weights.
  template <class S>
  void divide(Routing<S>& routing) const {
    if (normalize) return division().divide(routing, [](Index, S largest) { return largest; });
    for (Choice<S>& c : routing.choices) c.weight = static_cast<S>(scale) * routing.scores_TE(c.token, c.expert);
  }

  /// All of the above, for choices that others made.
  template <class S>
  void weigh(Routing<S>& routing) const {
    begin(routing);
    for (Index t = 0; t < routing.tokens(); ++t) measure(routing, t);
    for (Choice<S>& c : routing.choices) c.weight = routing.workspace.rows_TE(c.token, c.expert);
    divide(routing);
  }

  /// From the gradients of the weights and of the probabilities to those of the logits that weigh, by way of the
  /// logarithms of the scores: p = softmax(log s).
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    const Index experts = routing.experts();
    require_shape("Scores: those of the forward pass", routing.scores_TE, routing.tokens(), experts);
    Buffer<Matrix<S>>& dlog_TE = drouting.workspace.rows_TE;
    dlog_TE.resize(routing.tokens(), experts);
    dlog_TE.setZero();
    const auto add = [&](const Choice<S>& c, S dlog) { dlog_TE(c.token, c.expert) += dlog; };
    if (normalize)
      division().backward(routing, drouting, add);
    else
      for (std::size_t i = 0; i < routing.choices.size(); ++i)
        add(routing.choices[i], drouting.choices[i].weight * routing.choices[i].weight);
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t)) continue;
      S* dlog_E = dlog_TE.row(t).data();
      detail::softmax_row_backward(routing.probabilities_TE.row(t).data(), drouting.probabilities_TE.row(t).data(),
                                   experts, dlog_E);
      log_score_row_backward(routing.weighing_logits_TE().row(t).data(), routing.probabilities_TE.row(t).data(), dlog_E,
                             experts, drouting.weighing_logits_TE().row(t).data());
    }
  }

  /// log(score(logit)): never -infinity for a finite logit.
  template <class S>
  void log_score_row(const S* logits, Index experts, S* logs) const {
    using Chunk = detail::Chunk<S>;
    if (score == Score::softmax) {
      const auto sum = detail::softmax_row(logits, experts, logs);
      const S log_sum = std::log(sum.sum);
      if (detail::has_finite_bits(sum.shift))
        detail::map_chunks(
            experts, logs, [&](const Chunk& z) -> Chunk { return z - sum.shift - log_sum; }, logits);
      else  // shares of 1, and 0; or NaN
        detail::map_chunks(
            experts, logs, [](const Chunk& p) -> Chunk { return p.log(); }, logs);
      return;
    }
    const bool is_sigmoid = score == Score::sigmoid;
    const S linear = log_softplus_is_linear<S>();
    const auto scored = [is_sigmoid, linear](const Chunk& z) -> Chunk {
      if (is_sigmoid) return -softplus<S>(-z);
      return S(0.5) * detail::where_less<S>(z, detail::all(linear), z, softplus<S>(z).log());
    };
    detail::map_chunks(experts, logs, scored, logits);
  }

  /// scores = exp(logs); what is too small for S becomes 0. `scores` may be `logs`.
  template <class S>
  static void exp_row(const S* logs, Index experts, S* scores) {
    using Chunk = detail::Chunk<S>;
    const S lowest = std::log((std::numeric_limits<S>::min)());
    detail::map_chunks(
        experts, scores,
        [lowest](const Chunk& l) -> Chunk {
          return detail::where_less<S>(l, detail::all(lowest), detail::all(S(0)), l.exp());
        },
        logs);
  }

 private:
  detail::Division division() const { return {epsilon, epsilon_is, 1, scale}; }

  /// Below this logit, log(softplus(z)) is z to the last bit.
  template <class S>
  static S log_softplus_is_linear() {
    return std::log(std::numeric_limits<S>::epsilon());
  }

  template <class S>
  void log_score_row_backward(const S* logits, const S* probabilities, const S* dlogs, Index experts,
                              S* dlogits) const {
    using Chunk = detail::Chunk<S>;
    if (score == Score::softmax) {  // dz = dl - p sum dl
      const S sum = detail::sum_row(dlogs, experts);
      detail::map_chunks(
          experts, dlogits,
          [sum](const Chunk& d, const Chunk& dl, const Chunk& p) -> Chunk { return d + dl - p * sum; }, dlogits, dlogs,
          probabilities);
    } else if (score == Score::sigmoid) {  // d log sigmoid(z) = sigmoid(-z)
      detail::map_chunks(
          experts, dlogits,
          [](const Chunk& d, const Chunk& dl, const Chunk& z) -> Chunk { return d + dl * detail::sigmoid<S>(-z); },
          dlogits, dlogs, logits);
    } else {  // d log sqrt(softplus(z)) = sigmoid(z) / (2 softplus(z)), which is 1/2 where both vanish
      const S linear = log_softplus_is_linear<S>();
      detail::map_chunks(
          experts, dlogits,
          [linear](const Chunk& d, const Chunk& dl, const Chunk& z) -> Chunk {
            const Chunk slope = detail::sigmoid<S>(z) / softplus<S>(z);
            return d + S(0.5) * dl * detail::where_less<S>(z, detail::all(linear), detail::all(S(1)), slope);
          },
          dlogits, dlogs, logits);
    }
  }

  /// log(1 + exp(z)) without overflow.
  template <class S>
  static detail::Chunk<S> softplus(const detail::Chunk<S>& z) {
    return detail::where_less<S>(z, detail::all(S(0)), detail::all(S(0)), z) + (-z.abs()).exp().log1p();
  }
};

MOE_NAMESPACE_END
