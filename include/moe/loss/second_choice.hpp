// Balance of the second choices: Mesh TensorFlow's second-place loss.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/chunk.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/loss/groups.hpp"
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
    Buffer<Matrix<S>> slope_GE;
    std::vector<Index> indices;
    detail::Wide<S> sum = 0;
    for_each_token(routing, indices, slope_GE, [&](Index, Index, const S*, S inner, S) { sum += inner; });
    return static_cast<S>(sum);
  }

  template <class S>
  void backward(const Routing<S>& routing, S scale, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    auto& workspace = drouting.workspace;
    const auto add = [&](Index t, Index first, const S* slope_E, S inner, S divisor) {
      // q = p / (s + epsilon), s = sum p: dp = (dq - sum dq q) / (s + epsilon), but 0 for the first choice
      S* dp_E = detail::row_at(drouting.probabilities_TE, t);
      const S kept = dp_E[first];
      detail::map_row(routing.experts(), dp_E,
                      [=](Index e) { return dp_E[e] + scale * (slope_E[e] - inner) / divisor; });
      dp_E[first] = kept;
    };
    for_each_token(routing, workspace.indices, workspace.rows_TE, add);
  }

 private:
  /// Calls f(token, its first choice, d loss / d q of its group, their product with its q, s + epsilon); the slopes are
  /// E f / tokens / groups that have a token.
  template <class S, class F>
  void for_each_token(const Routing<S>& routing, std::vector<Index>& indices, Buffer<Matrix<S>>& slope_GE,
                      F&& f) const {
    if (routing.tokens() == 0) return;
    const Index experts = routing.experts(), size = routing.rows_of_group(), groups = routing.tokens() / size;
    slope_GE.resize(groups, experts);
    std::fill_n(slope_GE.data(), slope_GE.size(), S(0));
    for (const Choice<S>& c : routing.choices)
      if (c.rank == 1) detail::row_at(slope_GE, c.token / size)[c.expert] += S(1);
    const Index used = detail::count_group_tokens(routing, size, indices);
    for (Index g = 0; g < groups; ++g) {
      const auto tokens = static_cast<S>(indices[static_cast<std::size_t>(g)]);
      S* slope_E = detail::row_at(slope_GE, g);
      detail::set_scaled_row(tokens > 0 ? static_cast<S>(experts) / (tokens * tokens * static_cast<S>(used)) : S(0),
                             slope_E, experts, slope_E);
    }
    std::vector<Index>& first_T = indices;
    first_T.assign(static_cast<std::size_t>(routing.tokens()), Index{-1});
    for (const Choice<S>& c : routing.choices)
      if (c.rank == 0) first_T[static_cast<std::size_t>(c.token)] = c.expert;
    for (Index t = 0; t < routing.tokens(); ++t) {
      const Index first = first_T[static_cast<std::size_t>(t)];
      if (!routing.is_valid(t) || first < 0) continue;
      const S *p_E = detail::row_at(routing.probabilities_TE, t), *slope_E = detail::row_at(slope_GE, t / size);
      const auto others = [=](Index begin, Index count) -> Chunk<S> {  // p, but 0 for the first choice
        const Chunk<S> p = detail::load_chunk(p_E + begin, count, S(0));
        const Index place = first - begin;
        if (place < 0 || place >= panel_width) return p;
        return where_less(detail::first_ones<S>(place), detail::first_ones<S>(place + 1), S(0), p);
      };
      Chunk<S> sum = S(0), inner = S(0);
      detail::for_each_chunk(experts, [&](Index begin, Index count) { sum += others(begin, count); });
      const S divisor = sum.sum() + static_cast<S>(epsilon);
      detail::for_each_chunk(experts, [&](Index begin, Index count) {
        inner += detail::load_chunk(slope_E + begin, count, S(0)) * (others(begin, count) / divisor);
      });
      f(t, first, slope_E, inner.sum(), divisor);
    }
  }
};

MOE_NAMESPACE_END
