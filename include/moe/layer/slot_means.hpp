// Slots as weighted means of tokens, and tokens as weighted means of slots: what a SoftLayer has in the place of a
// router, a gate and a plan.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/kernel/gemm.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/layer/slot_rows.hpp"
#include "moe/routing/batch.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// c = a b or a b', or c += that.
template <class S>
void multiply(ConstMatrixRef<S> a, ConstMatrixRef<S> b, bool transpose_b, MatrixRef<S> c, bool accumulate) {
  const Index row_stride = transpose_b ? 1 : b.outerStride(), column_stride = transpose_b ? b.outerStride() : 1;
  gemm<S>(c.rows(), c.cols(), a.cols(), {a.data(), a.outerStride(), 1}, {b.data(), row_stride, column_stride}, c.data(),
          c.outerStride(), accumulate);
}

/// Zeros, as many as there are in the other.
template <class S>
void zero_like(const Buffer<Matrix<S>>& other, Buffer<Matrix<S>>& matrix) {
  matrix.resize(other.rows(), other.cols());
  matrix.setZero();
}

/// u = gain .* sqrt(D) v / |v| by rows; v itself without a gain.
template <class S>
void normalize_rows(ConstMatrixRef<S> v, const Vector<S>& gain_D, Buffer<Matrix<S>>& u) {
  u = v;
  if (gain_D.size() == 0) return;
  const S root = std::sqrt(static_cast<S>(v.cols()));
  for (Index i = 0; i < v.rows(); ++i)
    u.row(i) = (root / (std::max)(std::sqrt(dot_rows<S>(row_at(v, i), row_at(v, i), v.cols())), S(1e-12))) *
               v.row(i).cwiseProduct(gain_D.transpose());
}

/// The weights of all tokens in all slots, T tokens and P slots of each of the groups, and their gradients.
template <class S>
struct SlotMeans {
  Buffer<Matrix<S>> u_TD, w_PD;                          ///< The tokens and the slots' embeddings, normalised or not.
  Buffer<Matrix<S>> logits_TP, dispatch_TP, combine_TP;  ///< u w'; softmax over a group's tokens; over all slots.
  Buffer<Matrix<S>> du_TD, dw_PD, dlogits_TP, ddispatch_TP, dcombine_TP;
  Buffer<Matrix<S>> dlogits_of_tokens, u_of_tokens;   // without padding
  Buffer<Vector<S>> column_T, direction_D, scaled_D;  // workspace
  Buffer<Vector<Wide<S>>> sums_D;
  std::vector<std::uint8_t> marks_T;  ///< 1: a token, 0: padding.
  std::vector<Index> first_row;       ///< E + 1: the slots of expert e, of all groups.
  Index marked = 0, groups = 0, group_size = 0, slots_of_expert = 0;

  Index tokens() const { return static_cast<Index>(marks_T.size()); }
  Index slots() const { return w_PD.rows(); }
  bool is_valid(Index token) const { return marks_T[static_cast<std::size_t>(token)] != 0; }
  const std::vector<std::uint8_t>& valid_T() const { return marks_T; }
  Index valid_tokens() const { return marked; }

  /// Padding, groups, and which rows of the slots are which expert's.
  void begin(const Batch<S>& batch, Index slot_count, Index experts) {
    marked = batch.mark_tokens(marks_T);
    groups = batch.groups();
    group_size = batch.group_size;
    slots_of_expert = slot_count / experts;
    first_row.resize(static_cast<std::size_t>(experts) + 1);
    for (Index e = 0; e <= experts; ++e) first_row[static_cast<std::size_t>(e)] = e * groups * slots_of_expert;
  }

  Index tokens_of_group() const { return groups > 0 ? tokens() / groups : 0; }
  Index group_of_row(Index row) const { return row / slots_of_expert % groups; }
  Index slot_of_row(Index row) const {
    return row / (slots_of_expert * groups) * slots_of_expert + row % slots_of_expert;
  }
  /// Among those of all experts and groups: an expert's slots of all groups lie together.
  Index row_of_slot(Index group, Index p) const {
    return (p / slots_of_expert * groups + group) * slots_of_expert + p % slots_of_expert;
  }

  /// Of u_TD and w_PD; what padding gets is 0, or the mean of all slots.
  void weigh(bool padding_gets_mean) {
    logits_TP.resize(tokens(), slots());
    multiply<S>(u_TD, w_PD, true, logits_TP, false);
    combine_TP.resize(tokens(), slots());
    for (Index t = 0; t < tokens(); ++t) {
      if (is_valid(t))
        softmax_row(row_at(logits_TP, t), slots(), row_at(combine_TP, t));
      else
        combine_TP.row(t).setConstant(padding_gets_mean ? S(1) / static_cast<S>(slots()) : S(0));
    }
    zero_like<S>(logits_TP, dispatch_TP);
    column_T.resize(tokens());
    for (Index g = 0; g < groups; ++g)
      for (Index p = 0; p < slots(); ++p) weigh_tokens(g * tokens_of_group(), (g + 1) * tokens_of_group(), p);
  }

  /// dlogits_TP from the gradients of both weights.
  void weigh_backward() {
    zero_like<S>(logits_TP, dlogits_TP);
    for (Index t = 0; t < tokens(); ++t)
      if (is_valid(t))
        softmax_row_backward(row_at(combine_TP, t), row_at(dcombine_TP, t), slots(), row_at(dlogits_TP, t));
    for (Index g = 0; g < groups; ++g)
      for (Index p = 0; p < slots(); ++p) weigh_tokens_backward(g * tokens_of_group(), (g + 1) * tokens_of_group(), p);
  }

  /// Rows of slots `begin`, ... = the sums of weights(t, p) times token t, over the tokens of the slot's group. Padding
  /// is read only where it takes part.
  void gather(const ConstMatrixRef<S>& weights_TP, const ConstMatrixRef<S>& tokens_TD, bool with_padding, Index begin,
              MatrixRef<S> rows_ND) const {
    rows_ND.setZero();
    for (Index i = 0; i < rows_ND.rows(); ++i) {
      const Index group = group_of_row(begin + i) * tokens_of_group(), p = slot_of_row(begin + i);
      const auto add = [&](Index n, Index first, Index count, S* sums) {
        const Index t = group + n;
        if (!with_padding && !is_valid(t)) return false;
        add_scaled_row<S>(weights_TP(t, p), row_at(tokens_TD, t) + first, count, sums);
        return true;
      };
      add_terms<S>(tokens_of_group(), rows_ND.cols(), row_at(rows_ND, i), add);
    }
  }

  /// tokens += the sums of weights(t, p) times slot p, over the slots.
  template <class Exec>
  void scatter(ConstMatrixRef<S> weights_TP, ConstMatrixRef<S> slots_ND, bool with_padding, MatrixRef<S> tokens_TD,
               const Exec& executor) const {
    for_each_token(executor, with_padding, [&](Index t, Index group) {
      for (Index p = 0; p < slots(); ++p)
        add_scaled_row<S>(weights_TP(t, p), row_at(slots_ND, row_of_slot(group, p)), tokens_TD.cols(),
                          row_at(tokens_TD, t));
    });
  }

  /// dweights(t, p) = token t . slot p; 0 for padding.
  template <class Exec>
  void weights_gradient(ConstMatrixRef<S> tokens_TD, ConstMatrixRef<S> slots_ND, Buffer<Matrix<S>>& dweights_TP,
                        const Exec& executor) const {
    zero_like<S>(logits_TP, dweights_TP);
    for_each_token(executor, false, [&](Index t, Index group) {
      for (Index p = 0; p < slots(); ++p)
        dweights_TP(t, p) =
            dot_rows<S>(row_at(tokens_TD, t), row_at(slots_ND, row_of_slot(group, p)), tokens_TD.cols());
    });
  }

  /// The backward pass of normalize_rows. With d = v / |v|, e = gain .* du: dgain += sqrt(D) du .* d, and
  /// dv += sqrt(D) (e - (e . d) d) / |v|; without padding, if the rows are tokens.
  void normalize_backward(ConstMatrixRef<S> v, const Vector<S>& gain_D, const Buffer<Matrix<S>>& du, bool are_tokens,
                          MatrixRef<S> dv, Vector<S>& dgain_D) {
    const S root = std::sqrt(static_cast<S>(v.cols()));
    sums_D.resize(gain_D.size());
    sums_D.setZero();
    for (Index i = 0; i < v.rows(); ++i) {
      if (are_tokens && !is_valid(i)) continue;
      if (gain_D.size() == 0) {
        dv.row(i) += du.row(i);
        continue;
      }
      const S length = (std::max)(std::sqrt(dot_rows<S>(row_at(v, i), row_at(v, i), v.cols())), S(1e-12));
      direction_D = v.row(i).transpose() / length;
      scaled_D = gain_D.cwiseProduct(du.row(i).transpose());
      sums_D += (root * du.row(i).transpose().cwiseProduct(direction_D)).template cast<Wide<S>>();
      dv.row(i) += root / length *
                   (scaled_D - dot_rows<S>(scaled_D.data(), direction_D.data(), v.cols()) * direction_D).transpose();
    }
    dgain_D += sums_D.template cast<S>();
  }

 private:
  void weigh_tokens(Index begin, Index end, Index p) {
    Index count = 0;
    for (Index t = begin; t < end; ++t)
      if (is_valid(t)) column_T(count++) = logits_TP(t, p);
    softmax_row(column_T.data(), count, column_T.data());
    count = 0;
    for (Index t = begin; t < end; ++t)
      if (is_valid(t)) dispatch_TP(t, p) = column_T(count++);
  }

  void weigh_tokens_backward(Index begin, Index end, Index p) {
    Wide<S> sum = 0;
    for (Index t = begin; t < end; ++t)
      if (is_valid(t)) sum += dispatch_TP(t, p) * ddispatch_TP(t, p);
    const auto inner = static_cast<S>(sum);
    for (Index t = begin; t < end; ++t)
      if (is_valid(t)) dlogits_TP(t, p) += dispatch_TP(t, p) * (ddispatch_TP(t, p) - inner);
  }

  /// f(token, its group); no two tasks write one token.
  template <class Exec, class F>
  void for_each_token(const Exec& executor, bool with_padding, const F& f) const {
    parallel_blocks(executor, groups > 0 ? tokens() : 0, rows_a_task, [&](Index begin, Index count) {
      for (Index t = begin; t < begin + count; ++t)
        if (with_padding || is_valid(t)) f(t, t / tokens_of_group());
    });
  }
};

/// The slots' inputs: means of the tokens.
template <class S>
struct GatheredTokens {
  const SlotMeans<S>& means;
  ConstMatrixRef<S> weights_TP, tokens_TD;
  bool with_padding;

  SlotInputs<S> inputs() const {
    return {this, [](const void* from, Index begin, MatrixRef<S> rows_ND) {
              const auto& tokens = *static_cast<const GatheredTokens*>(from);
              tokens.means.gather(tokens.weights_TP, tokens.tokens_TD, tokens.with_padding, begin, rows_ND);
            }};
  }
};

}  // namespace detail

MOE_NAMESPACE_END
