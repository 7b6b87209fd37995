// Expert choice: every expert chooses its best tokens.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/core/rounding.hpp"
#include "moe/gating/expert_choice_keys.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// S = softmax(logits) over experts. In each group of T tokens every expert takes the C = T * factor / E tokens with
/// the largest S in its column, and weighs them with S as it is (Zhou et al. 2022, section 3.2). All experts get
/// equally many tokens, so leave the layer's capacity unlimited.
///
/// The gate is not causal: whether a token is taken depends on the tokens after it. In a decoder it would leak the
/// future; use it in encoders.
struct ExpertChoice {
  enum class Axis {
    experts,  ///< S is a softmax of each token over the experts (the paper, V-MoE, flaxformer).
    tokens,   ///< S is a softmax of each expert over the group's tokens (Mesh TensorFlow; BALM-MoE).
  };

  double factor = 2;                   ///< Experts per token on average.
  Rounding rounding = Rounding::down;  ///< Of C (the paper: down; V-MoE: up; flaxformer: nearest).
  Axis softmax_axis = Axis::experts;
  bool average = false;  ///< Weights are divided by the number of experts that took the token (Mesh TensorFlow).
  Index minimum = 1;     ///< C is at least this (flaxformer: 4).
  Index multiple = 1;  ///< C is then rounded up to a multiple of this (V-MoE: 4), and is at most the number of tokens.

  void check(Index experts) const {
    require(detail::has_finite_bits(factor) && factor > 0 && factor <= static_cast<double>(experts),
            "ExpertChoice: factor is ", factor, ", it must be more than 0 and at most the number of experts, ",
            experts);
    require(minimum >= 1 && multiple >= 1, "ExpertChoice: minimum ", minimum, " and multiple ", multiple,
            ", they must be 1 or more");
  }

  /// C for a group of so many tokens: at least `minimum`, at most all of them.
  Index slots(Index tokens, Index experts) const {
    const double wanted = static_cast<double>(tokens) / static_cast<double>(experts) * factor;
    const Index slots = (std::max)(minimum, static_cast<Index>(detail::rounded(wanted, rounding)));
    return (std::min)(tokens, detail::rounded_up(slots, multiple));
  }

  bool choices_differ() const { return true; }

  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    detail::check_route(*this, batch, routing);
    const Index size = routing.rows_of_group();
    routing.selects_largest_logits = false;
    if (softmax_axis == Axis::experts) detail::measure_tokens(routing, routing.workspace.rows2_TE);
    for (Index begin = 0; begin < routing.tokens(); begin += size) choose(routing, begin, begin + size);
    if (!average) return;
    count_takers(routing, routing.workspace.token_T);
    for (Choice<S>& c : routing.choices) c.weight /= routing.workspace.token_T(c.token);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    if (average) count_takers(routing, drouting.workspace.token_T);
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      const S takers = average ? drouting.workspace.token_T(c.token) : S(1);
      drouting.probabilities_TE(c.token, c.expert) += drouting.choices[i].weight / takers;
    }
    Matrix<S>& dlogits_TE = drouting.weighing_logits_TE();
    if (softmax_axis == Axis::experts) {
      for (Index t = 0; t < routing.tokens(); ++t)
        if (routing.is_valid(t))
          detail::softmax_row_backward(routing.probabilities_TE.row(t).data(), drouting.probabilities_TE.row(t).data(),
                                       routing.experts(), dlogits_TE.row(t).data());
      return;
    }
    // Column by column, within groups: dz = p (dp - sum over tokens of p dp). A NaN stays in the row of its token.
    const Index size = routing.rows_of_group();
    for (Index begin = 0; begin < routing.tokens(); begin += size)
      for (Index e = 0; e < routing.experts(); ++e) {
        detail::Wide<S> wide_sum = 0;
        for (Index t = begin; t < begin + size; ++t) {
          if (!routing.is_valid(t)) continue;
          const S product = routing.probabilities_TE(t, e) * drouting.probabilities_TE(t, e);
          if (!detail::has_nan_bits(product)) wide_sum += product;
        }
        const auto sum = static_cast<S>(wide_sum);
        for (Index t = begin; t < begin + size; ++t)
          if (routing.is_valid(t))
            dlogits_TE(t, e) += routing.probabilities_TE(t, e) * (drouting.probabilities_TE(t, e) - sum);
      }
  }

 private:
  static constexpr Index columns_at_once = 16;

  template <class S>
  static void count_takers(const Routing<S>& routing, Vector<S>& takers_T) {
    takers_T.setZero(routing.tokens());
    for (const Choice<S>& c : routing.choices) takers_T(c.token) += S(1);
  }

  /// The choices of the group of tokens begin .. end - 1.
  template <class S>
  void choose(Routing<S>& routing, Index begin, Index end) const {
    auto& indices = routing.workspace.indices;  // the group's tokens, then the places of the chosen among them
    indices.clear();
    for (Index t = begin; t < end; ++t)
      if (routing.is_valid(t)) indices.push_back(t);
    const auto tokens = static_cast<Index>(indices.size());
    if (tokens == 0) return;
    if (softmax_axis == Axis::tokens)
      routing.probabilities_TE.middleRows(begin, end - begin).setZero();  // padding has none
    const Index taken = slots(tokens, routing.experts());
    indices.resize(static_cast<std::size_t>(tokens + taken));
    Index* places = indices.data() + tokens;
    Buffer<Matrix<S>>& columns =
        routing.workspace.rows_TE;  // a few experts at a time, one in each row, so that whole cache lines are read
    for (Index first = 0; first < routing.experts(); first += columns_at_once) {
      const Index count = (std::min)(columns_at_once, routing.experts() - first);
      columns.resize(count, tokens);
      if (softmax_axis == Axis::tokens) detail::measure_experts(routing, indices.data(), first, columns);
      for (Index i = 0; i < tokens; ++i)
        for (Index c = 0; c < count; ++c) {
          const Index t = indices[static_cast<std::size_t>(i)];
          columns(c, i) = softmax_axis == Axis::experts ? routing.workspace.rows2_TE(t, first + c)
                                                        : routing.selection_logits_TE()(t, first + c);
        }
      for (Index c = 0; c < count; ++c) {
        detail::top_k(columns.row(c).data(), tokens, taken, places);
        for (Index rank = 0; rank < taken; ++rank) {
          const Index t = indices[static_cast<std::size_t>(places[rank])];
          routing.choices.push_back({t, first + c, routing.probabilities_TE(t, first + c), static_cast<int>(rank)});
        }
      }
    }
  }
};

MOE_NAMESPACE_END
