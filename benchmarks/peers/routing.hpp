// Routing for the implementations on plain matrices: top-k, weights, slots grouped by expert, and the movers of rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <moe/core/executor.hpp>
#include <vector>

#include "../support/machine.hpp"
#include "problem.hpp"

namespace bench {

/// Who goes to whom. The slots of expert e are begin[e] ... begin[e + 1] - 1.
struct Routed {
  Rows logits_TE, weight_TK, dweight_TK;
  std::vector<Index> expert_TK, slot_TK, token_N, begin;

  Index rows_of(Index e) const { return begin[static_cast<std::size_t>(e) + 1] - begin[static_cast<std::size_t>(e)]; }
  Index begin_of(Index e) const { return begin[static_cast<std::size_t>(e)]; }

  /// From the logits: everything else.
  void decide(const Shape& shape) {
    const auto pairs = static_cast<std::size_t>(shape.tokens * shape.k);
    expert_TK.resize(pairs);
    slot_TK.resize(pairs);
    token_N.resize(pairs);
    weight_TK.resize(shape.tokens, shape.k);
    in_blocks(shape.tokens, [&](Index t) { choose(t, shape); });

    begin.assign(static_cast<std::size_t>(shape.experts) + 1, 0);
    for (const Index e : expert_TK) ++begin[static_cast<std::size_t>(e) + 1];
    for (std::size_t e = 1; e < begin.size(); ++e) begin[e] += begin[e - 1];
    std::vector<Index> next = begin;
    for (std::size_t i = 0; i < pairs; ++i) {
      slot_TK[i] = next[static_cast<std::size_t>(expert_TK[i])]++;
      token_N[static_cast<std::size_t>(slot_TK[i])] = static_cast<Index>(i) / shape.k;
    }
  }

  void gather(const Rows& x_TD, Rows& x_ND) const {
    x_ND.resize(static_cast<Index>(token_N.size()), x_TD.cols());
    in_blocks(x_ND.rows(), [&](Index n) { x_ND.row(n) = x_TD.row(token_N[static_cast<std::size_t>(n)]); });
  }

  /// y_t = the weighted sum of the token's slots.
  void combine(const Rows& y_ND, Rows& y_TD) const {
    in_blocks(y_TD.rows(), [&](Index t) {
      y_TD.row(t).setZero();
      for (Index j = 0; j < weight_TK.cols(); ++j) y_TD.row(t) += weight_TK(t, j) * y_ND.row(slot(t, j));
    });
  }

  void combine_backward(const Rows& dy_TD, const Rows& y_ND, Rows& dy_ND) {
    dy_ND.resize(y_ND.rows(), y_ND.cols());
    dweight_TK.resize(weight_TK.rows(), weight_TK.cols());
    in_blocks(dy_TD.rows(), [&](Index t) {
      for (Index j = 0; j < weight_TK.cols(); ++j) {
        dy_ND.row(slot(t, j)) = weight_TK(t, j) * dy_TD.row(t);
        dweight_TK(t, j) = dy_TD.row(t).dot(y_ND.row(slot(t, j)));
      }
    });
  }

  /// From dweight_TK.
  void logits_gradient(Rows& dlogits_TE) const {
    dlogits_TE.resize(logits_TE.rows(), logits_TE.cols());
    in_blocks(logits_TE.rows(), [&](Index t) {
      auto dlogits = dlogits_TE.row(t);
      if (weight_TK.cols() == 1) {  // a probability
        dlogits = logits_TE.row(t).array() - logits_TE.row(t).maxCoeff();
        dlogits = dlogits.array().exp().eval();
        dlogits *= -weight_TK(t, 0) * dweight_TK(t, 0) / dlogits.sum();
        dlogits(expert(t, 0)) += weight_TK(t, 0) * dweight_TK(t, 0);
      } else {  // divided by their sum: a softmax of the chosen
        dlogits.setZero();
        const float mean = weight_TK.row(t).dot(dweight_TK.row(t));
        for (Index j = 0; j < weight_TK.cols(); ++j)
          dlogits(expert(t, j)) = weight_TK(t, j) * (dweight_TK(t, j) - mean);
      }
    });
  }

  /// dx_TD += the sums of the tokens' slots.
  void add_slots(const Rows& dx_ND, Rows& dx_TD) const {
    in_blocks(dx_TD.rows(), [&](Index t) {
      for (Index j = 0; j < weight_TK.cols(); ++j) dx_TD.row(t) += dx_ND.row(slot(t, j));
    });
  }

 private:
  Index expert(Index t, Index j) const { return expert_TK[static_cast<std::size_t>(t * weight_TK.cols() + j)]; }
  Index slot(Index t, Index j) const { return slot_TK[static_cast<std::size_t>(t * weight_TK.cols() + j)]; }

  template <class F>
  static void in_blocks(Index rows, F&& f) {
    moe::detail::parallel_blocks(executor_of(default_threads()), rows, 64, [&](Index begin_row, Index count) {
      for (Index r = begin_row; r < begin_row + count; ++r) f(r);
    });
  }

  /// One pass over the logits keeps the k highest in order; few get past the first comparison.
  void choose(Index t, const Shape& shape) {
    const float* const logits = logits_TE.row(t).data();
    Index* const chosen = &expert_TK[static_cast<std::size_t>(t * shape.k)];
    Index count = 0;
    for (Index e = 0; e < shape.experts; ++e) {
      if (count == shape.k && logits[e] <= logits[chosen[count - 1]]) continue;
      Index at = count < shape.k ? count++ : count - 1;
      for (; at > 0 && logits[e] > logits[chosen[at - 1]]; --at) chosen[at] = chosen[at - 1];
      chosen[at] = e;
    }
    // For k > 1 the softmax's sum cancels.
    const float highest = logits[chosen[0]];
    float sum = 0;
    for (Index j = 0; j < shape.k; ++j) sum += weight_TK(t, j) = std::exp(logits[chosen[j]] - highest);
    if (shape.k == 1) sum = (logits_TE.row(t).array() - highest).exp().sum();
    weight_TK.row(t) /= sum;
  }
};

}  // namespace bench
