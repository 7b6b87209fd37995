// Balance of the second choices: Mesh TensorFlow's second-place loss.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// E * sum_e f_e P_e over each group of the batch, and the mean over groups: f_e the share of tokens whose second
/// choice is e (before dropping, a constant for the gradient), P_e the mean over tokens of p_e / (sum of p + epsilon)
/// without the first choice (mesh's moe_use_second_place_loss, which adds half of it to GShard's loss: hence the
/// coefficient).
struct SecondChoiceLoss {
  double coefficient = 0.5e-2;
  double epsilon = 1e-9;

  static constexpr std::string_view name() { return "second_choice"; }

  template <class S>
  S value(const Routing<S>& routing) const {
    routing.check();
    Vector<S> q_E;
    Buffer<Matrix<S>> slope_GE;
    std::vector<Index> first_T;
    S sum = 0;
    for_each_token(routing, first_T, slope_GE, q_E, [&](Index, Index g, S) { sum += slope_GE.row(g).dot(q_E); });
    return sum;
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    auto& workspace = drouting.workspace;
    std::vector<Index>& first_T = workspace.indices;
    Buffer<Matrix<S>>& slope_GE = workspace.rows_TE;
    Vector<S>& q_E = workspace.expert_E;
    for_each_token(routing, first_T, slope_GE, q_E, [&](Index t, Index g, S divisor) {
      // q = p / (s + epsilon), s = sum p: dp = (dq - sum dq q) / (s + epsilon), but 0 for the first choice
      const S inner = slope_GE.row(g).dot(q_E);
      for (Index e = 0; e < routing.experts(); ++e)
        if (e != first_T[static_cast<std::size_t>(t)])
          drouting.probabilities_TE(t, e) += scale * (slope_GE(g, e) - inner) / divisor;
    });
  }

 private:
  /// Calls f(token, group, s + epsilon) with the token's q in q_E, and d loss / d q of each group in slope_GE: E f /
  /// tokens / groups that have a token.
  template <class S, class F>
  void for_each_token(const Routing<S>& routing, std::vector<Index>& first_T, Buffer<Matrix<S>>& slope_GE,
                      Vector<S>& q_E, F&& f) const {
    if (routing.tokens() == 0) return;
    const Index size = routing.group_size > 0 ? routing.group_size : routing.tokens();
    const Index groups = routing.tokens() / size;
    slope_GE.resize(groups, routing.experts());
    slope_GE.setZero();
    first_T.assign(static_cast<std::size_t>(routing.tokens()), Index{-1});
    for (const Choice<S>& c : routing.choices) {
      if (c.rank == 0) first_T[static_cast<std::size_t>(c.token)] = c.expert;
      if (c.rank == 1) slope_GE(c.token / size, c.expert) += S(1);
    }
    Index used = 0;
    for (Index g = 0; g < groups; ++g) used += tokens_in(routing, g * size, size) > 0 ? 1 : 0;
    for (Index g = 0; g < groups; ++g) {
      const auto tokens = static_cast<S>(tokens_in(routing, g * size, size));
      slope_GE.row(g) *=
          tokens > 0 ? static_cast<S>(routing.experts()) / (tokens * tokens * static_cast<S>(used)) : S(0);
      for (Index t = g * size; t < (g + 1) * size; ++t) {
        const Index first = first_T[static_cast<std::size_t>(t)];
        if (!routing.is_valid(t) || first < 0) continue;
        q_E = routing.probabilities_TE.row(t).transpose();
        q_E(first) = S(0);
        const S divisor = q_E.sum() + static_cast<S>(epsilon);
        q_E /= divisor;
        f(t, g, divisor);
      }
    }
  }

  template <class S>
  static Index tokens_in(const Routing<S>& routing, Index begin, Index size) {
    Index tokens = 0;
    for (Index t = begin; t < begin + size; ++t) tokens += routing.is_valid(t) ? 1 : 0;
    return tokens;
  }
};

static_assert(AuxiliaryLoss<SecondChoiceLoss, float>);

MOE_NAMESPACE_END
