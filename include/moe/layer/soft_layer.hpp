// Soft MoE: no token is routed. Every slot of every expert gets a weighted mean of all tokens, and every token a
// weighted mean of all slots' outputs; fully differentiable, and balanced by construction.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/buffer.hpp"
#include "moe/core/check_gradient.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/expert/properties.hpp"
#include "moe/kernel/gemm.hpp"
#include "moe/kernel/linear_map.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/layer/tape.hpp"
#include "moe/routing/batch.hpp"

MOE_NAMESPACE_BEGIN

struct SoftOptions {
  /// Tokens and slot embeddings are first replaced by gain .* sqrt(D) v / |v|, the gains learned; the slots then take
  /// means of the normalised tokens (lucidrains' soft-moe-pytorch). false: neither (the paper's plain form).
  bool normalize = false;
  /// What a token of padding gets: a zero row, or the mean of all slots (lucidrains, by masking its logits evenly).
  bool padding_gets_mean = false;
};

/// logits_TP = x slot_PD' with P = E * (slots per expert); slot inputs = D' x with D = softmax of the logits over the
/// group's tokens; y = C slot outputs with C = softmax over slots (Puigcerver et al. 2023, section 2, algorithm 1).
/// Not causal: every token sees every other of its group. Errors, tapes and gradients are as of Layer.
template <class S, class X>
struct SoftLayer {
  static_assert(detail::ComputesIn<S>::is_known);
  static_assert(
      Expert<X, S>,
      "moe::SoftLayer: X is not an expert: it needs Tape and forward(x, y, tape) const; see moe/concepts.hpp");
  using Scalar = S;

  Matrix<S> slot_PD;       ///< Slots of expert e: rows e P / E ... (e + 1) P / E - 1.
  std::vector<X> experts;  ///< Outputs as wide as inputs.
  SoftOptions options = {};
  Vector<S> token_gain_D = {}, slot_gain_D = {};  ///< Of options.normalize.

  struct Tape {
    Buffer<Matrix<S>> u_TD, w_PD, logits_TP, dispatch_TP, combine_TP, in_QD, out_QD;  // Q = groups * P, by expert
    Buffer<Matrix<S>> dlogits_TP, din_QD, dout_QD, du_TD, dw_PD, ddispatch_TP, dcombine_TP;
    Buffer<Matrix<S>> dlogits_of_tokens, u_of_tokens;  // without padding
    std::vector<typename X::Tape> experts;
    std::vector<std::uint8_t> valid_T;  // 1: a token, 0: padding; of the recorded pass, as these are:
    Index valid_tokens = 0, groups = 0;
    bool keep_activations = true;  ///< false, set by the caller: for inference, without a backward pass.
    Index width = -1;              ///< Of the recorded pass; -1: none that a backward pass may follow.
    const void* layer = nullptr;   ///< Whose pass it was: where that one's experts lie.

    Index tokens() const { return logits_TP.rows(); }
    bool is_valid(Index token) const { return valid_T[static_cast<std::size_t>(token)] != 0; }
  };

  SoftLayer(Matrix<S> slots, std::vector<X> experts_, SoftOptions options_ = {})
      : slot_PD(std::move(slots)), experts(std::move(experts_)), options(options_) {
    if (options.normalize) {
      token_gain_D.setOnes(slot_PD.cols());
      slot_gain_D.setOnes(slot_PD.cols());
    }
    check();
  }

  Index slots() const { return slot_PD.rows(); }

  void check() const {
    const auto count = static_cast<Index>(experts.size());
    require(count > 0 && slots() > 0 && slots() % count == 0, "SoftLayer: ", slots(), " slots do not divide among ",
            count, " experts");
    const Index gain = options.normalize ? slot_PD.cols() : 0;
    require(token_gain_D.size() == gain && slot_gain_D.size() == gain, "SoftLayer: gains of ", token_gain_D.size(),
            " and ", slot_gain_D.size(), " entries, they need ", gain);
    for (const X& expert : experts) {
      if constexpr (requires { expert.check(slot_PD.cols()); }) expert.check(slot_PD.cols());
      require(detail::output_width(expert, slot_PD.cols()) == slot_PD.cols(), "SoftLayer: outputs of width ",
              detail::output_width(expert, slot_PD.cols()), " for tokens of width ", slot_PD.cols());
    }
  }

  template <class Exec = DefaultExecutor>
  Matrix<S> forward(const Batch<S>& batch) const {
    Tape tape;
    tape.keep_activations = false;
    return forward(batch, tape, Exec{});
  }

  template <class Exec = DefaultExecutor>
  Matrix<S> forward(const Batch<S>& batch, Tape& tape, const Exec& executor = {}) const {
    check();
    batch.check();
    require(batch.x_TD.cols() == slot_PD.cols(), "SoftLayer: tokens of width ", batch.x_TD.cols(),
            ", the slots are for width ", slot_PD.cols());
    tape.width = -1;
    begin(batch, tape);
    normalized(batch.x_TD, token_gain_D, tape.u_TD);
    normalized(slot_PD, slot_gain_D, tape.w_PD);
    tape.logits_TP.resize(batch.tokens(), slots());
    multiply(tape.u_TD, false, tape.w_PD, true, tape.logits_TP, false);
    softmax_over_slots(tape);
    softmax_over_tokens(tape);
    tape.in_QD.resize(tape.groups * slots(), slot_PD.cols());
    tape.out_QD.resize(tape.in_QD.rows(), slot_PD.cols());
    Matrix<S> y_TD(batch.tokens(), batch.x_TD.cols());
    gather_slots(tape, tape.u_TD, tape.dispatch_TP, false, tape.in_QD);
    run_experts(tape, executor);
    y_TD.setZero();
    scatter_slots(tape, tape.combine_TP, options.padding_gets_mean, tape.out_QD, y_TD);
    tape.layer = experts.data();
    if (tape.keep_activations) tape.width = batch.x_TD.cols();
    return y_TD;
  }

  /// dx_TD; gradient += ...
  template <class Exec = DefaultExecutor>
  Matrix<S> backward(const Batch<S>& batch, RowsRef<S> dy_TD, Tape& tape, SoftLayer& gradient,
                     const Exec& executor = {}) const {
    check(batch, tape);
    require_shape("SoftLayer::backward: dy", dy_TD, batch.tokens(), batch.x_TD.cols());
    detail::check_gradient("SoftLayer::backward: the gradient", *this, gradient);
    const bool of_padding = options.padding_gets_mean;
    zero(tape.dout_QD, tape.out_QD);
    zero(tape.din_QD, tape.in_QD);
    zero(tape.dcombine_TP, tape.logits_TP);
    zero(tape.ddispatch_TP, tape.logits_TP);
    zero(tape.du_TD, tape.u_TD);
    gather_slots(tape, dy_TD, tape.combine_TP, of_padding, tape.dout_QD);
    weights_gradient(tape, dy_TD, tape.out_QD, tape.dcombine_TP);
    run_experts_backward(tape, gradient, executor);
    scatter_slots(tape, tape.dispatch_TP, false, tape.din_QD, tape.du_TD);
    weights_gradient(tape, tape.u_TD, tape.din_QD, tape.ddispatch_TP);
    softmax_backward(tape);
    zero(tape.dw_PD, tape.w_PD);
    detail::gather_marked_rows<S>(tape.dlogits_TP, tape.valid_T, tape.valid_tokens, tape.dlogits_of_tokens);
    detail::gather_marked_rows<S>(tape.u_TD, tape.valid_T, tape.valid_tokens, tape.u_of_tokens);
    multiply(tape.dlogits_of_tokens, true, tape.u_of_tokens, false, tape.dw_PD, false);
    multiply(tape.dlogits_TP, false, tape.w_PD, false, tape.du_TD, true);
    Matrix<S> dx_TD = Matrix<S>::Zero(batch.tokens(), batch.x_TD.cols());
    normalized_backward(batch.x_TD, token_gain_D, tape.du_TD, dx_TD, gradient.token_gain_D,
                        [&](Index t) { return tape.is_valid(t); });
    normalized_backward(slot_PD, slot_gain_D, tape.dw_PD, gradient.slot_PD, gradient.slot_gain_D,
                        [](Index) { return true; });
    return dx_TD;
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("slots", self.slot_PD...);
    if ((... || (self.token_gain_D.size() > 0))) f("token_gain", self.token_gain_D...);
    if ((... || (self.slot_gain_D.size() > 0))) f("slot_gain", self.slot_gain_D...);
    detail::visit_list("experts", f, self.experts...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    detail::visit_list_buffers("experts", f, self.experts...);
  }

 private:
  /// What the pass treats as padding, and its groups.
  static void begin(const Batch<S>& batch, Tape& tape) {
    tape.groups = batch.groups();
    tape.valid_tokens = 0;
    tape.valid_T.resize(static_cast<std::size_t>(batch.tokens()));
    for (Index t = 0; t < batch.tokens(); ++t) {
      tape.valid_T[static_cast<std::size_t>(t)] = batch.is_valid(t) ? 1 : 0;
      tape.valid_tokens += batch.is_valid(t) ? 1 : 0;
    }
  }

  /// Throws std::invalid_argument unless the tape is of a pass of this batch's sizes, groups and padding.
  void check(const Batch<S>& batch, const Tape& tape) const {
    check();
    batch.check();
    require(tape.width >= 0, "SoftLayer::backward: the tape holds no forward pass that kept its activations");
    require(tape.width == slot_PD.cols() && tape.width == batch.x_TD.cols() && tape.tokens() == batch.tokens(),
            "SoftLayer::backward: the tape is of ", tape.tokens(), " tokens of width ", tape.width, ", the batch has ",
            batch.tokens(), " of width ", batch.x_TD.cols());
    require(tape.experts.size() == experts.size() && tape.w_PD.rows() == slots(),
            "SoftLayer::backward: the tape is of ", tape.experts.size(), " experts and ", tape.w_PD.rows(),
            " slots, the layer has ", experts.size(), " and ", slots());
    detail::require_own_tape("SoftLayer::backward", tape.layer, experts.data());
    require(tape.groups == batch.groups(), "SoftLayer::backward: the batch has ", batch.groups(),
            " groups, in the forward pass it had ", tape.groups);
    detail::require_same_padding("SoftLayer::backward", batch, tape);
  }

  /// Calls f(g, begin, end) for each group's tokens.
  template <class F>
  static void for_each_group(const Tape& tape, F&& f) {
    const Index size = tape.groups > 0 ? tape.tokens() / tape.groups : 0;
    for (Index g = 0; g < tape.groups; ++g) f(g, g * size, (g + 1) * size);
  }

  /// The row of a group's slot p: all groups' slots of one expert lie together.
  Index row_of(Index group, Index groups, Index p) const {
    const Index each = slots() / static_cast<Index>(experts.size());
    return (p / each * groups + group) * each + p % each;
  }

  /// c = [c +] op(a) op(b), op a transposition or nothing.
  static void multiply(ConstMatrixRef<S> a, bool transpose_a, ConstMatrixRef<S> b, bool transpose_b, MatrixRef<S> c,
                       bool accumulate) {
    const auto strided = [](const ConstMatrixRef<S>& m, bool transpose) {
      return transpose ? detail::Strided<S>{m.data(), 1, m.outerStride()}
                       : detail::Strided<S>{m.data(), m.outerStride(), 1};
    };
    detail::gemm<S>(c.rows(), c.cols(), transpose_a ? a.rows() : a.cols(), strided(a, transpose_a),
                    strided(b, transpose_b), c.data(), c.outerStride(), accumulate);
  }

  /// Zeros, as many as there are in the other.
  static void zero(Buffer<Matrix<S>>& matrix, const Buffer<Matrix<S>>& other) {
    matrix.resize(other.rows(), other.cols());
    matrix.setZero();
  }

  /// gain .* sqrt(D) v / |v| by rows; v itself without a gain.
  static void normalized(ConstMatrixRef<S> v, const Vector<S>& gain, Buffer<Matrix<S>>& u) {
    u = v;
    if (gain.size() == 0) return;
    const S root = std::sqrt(static_cast<S>(v.cols()));
    for (Index i = 0; i < v.rows(); ++i)
      u.row(i) = (root / (std::max)(v.row(i).norm(), S(1e-12))) * v.row(i).cwiseProduct(gain.transpose());
  }

  /// With d = v / |v|, e = gain .* du: dgain += sqrt(D) du .* d, dv += sqrt(D) (e - (e . d) d) / |v|; for rows that
  /// count.
  template <class Counts>
  static void normalized_backward(ConstMatrixRef<S> v, const Vector<S>& gain, ConstMatrixRef<S> du, Matrix<S>& dv,
                                  Vector<S>& dgain, Counts&& counts) {
    const S root = std::sqrt(static_cast<S>(v.cols()));
    for (Index i = 0; i < v.rows(); ++i) {
      if (!counts(i)) continue;
      if (gain.size() == 0) {
        dv.row(i) += du.row(i);
        continue;
      }
      const S length = (std::max)(v.row(i).norm(), S(1e-12));
      const Vector<S> d = v.row(i).transpose() / length, e = gain.cwiseProduct(du.row(i).transpose());
      dgain += root * du.row(i).transpose().cwiseProduct(d);
      dv.row(i) += root / length * (e - e.dot(d) * d).transpose();
    }
  }

  void softmax_over_slots(Tape& tape) const {
    tape.combine_TP.resize(tape.tokens(), slots());
    for (Index t = 0; t < tape.tokens(); ++t) {
      if (tape.is_valid(t))
        detail::softmax_row(tape.logits_TP.row(t).data(), slots(), tape.combine_TP.row(t).data());
      else
        tape.combine_TP.row(t).setConstant(options.padding_gets_mean ? S(1) / static_cast<S>(slots()) : S(0));
    }
  }

  void softmax_over_tokens(Tape& tape) const {
    zero(tape.dispatch_TP, tape.logits_TP);
    Vector<S> column(tape.tokens());
    for_each_group(tape, [&](Index, Index begin, Index end) {
      for (Index p = 0; p < slots(); ++p) {
        Index count = 0;
        for (Index t = begin; t < end; ++t)
          if (tape.is_valid(t)) column(count++) = tape.logits_TP(t, p);
        detail::softmax_row(column.data(), count, column.data());
        count = 0;
        for (Index t = begin; t < end; ++t)
          if (tape.is_valid(t)) tape.dispatch_TP(t, p) = column(count++);
      }
    });
  }

  void softmax_backward(Tape& tape) const {
    zero(tape.dlogits_TP, tape.logits_TP);
    for (Index t = 0; t < tape.tokens(); ++t)
      if (tape.is_valid(t))
        detail::softmax_row_backward(tape.combine_TP.row(t).data(), tape.dcombine_TP.row(t).data(), slots(),
                                     tape.dlogits_TP.row(t).data());
    for_each_group(tape, [&](Index, Index begin, Index end) {
      for (Index p = 0; p < slots(); ++p) {
        S inner = 0;
        for (Index t = begin; t < end; ++t)
          if (tape.is_valid(t)) inner += tape.dispatch_TP(t, p) * tape.ddispatch_TP(t, p);
        for (Index t = begin; t < end; ++t)
          if (tape.is_valid(t)) tape.dlogits_TP(t, p) += tape.dispatch_TP(t, p) * (tape.ddispatch_TP(t, p) - inner);
      }
    });
  }

  /// Rows of the slots = weights' tokens. Padding is looked at only where it takes part.
  void gather_slots(const Tape& tape, ConstMatrixRef<S> tokens_TD, ConstMatrixRef<S> weights_TP, bool with_padding,
                    MatrixRef<S> slots_QD) const {
    slots_QD.setZero();
    for_each_group(tape, [&](Index g, Index begin, Index end) {
      for (Index p = 0; p < slots(); ++p) {
        auto row = slots_QD.row(row_of(g, tape.groups, p));
        for (Index t = begin; t < end; ++t)
          if (with_padding || tape.is_valid(t)) row += weights_TP(t, p) * tokens_TD.row(t);
      }
    });
  }

  /// tokens += weights slots.
  void scatter_slots(const Tape& tape, ConstMatrixRef<S> weights_TP, bool with_padding, ConstMatrixRef<S> slots_QD,
                     MatrixRef<S> tokens_TD) const {
    for_each_group(tape, [&](Index g, Index begin, Index end) {
      for (Index t = begin; t < end; ++t)
        for (Index p = 0; p < slots() && (with_padding || tape.is_valid(t)); ++p)
          tokens_TD.row(t) += weights_TP(t, p) * slots_QD.row(row_of(g, tape.groups, p));
    });
  }

  /// dweights(t, p) = token t . slot p.
  void weights_gradient(const Tape& tape, ConstMatrixRef<S> tokens_TD, ConstMatrixRef<S> slots_QD,
                        MatrixRef<S> dweights_TP) const {
    for_each_group(tape, [&](Index g, Index begin, Index end) {
      for (Index t = begin; t < end; ++t)
        for (Index p = 0; p < slots() && tape.is_valid(t); ++p)
          dweights_TP(t, p) = tokens_TD.row(t).dot(slots_QD.row(row_of(g, tape.groups, p)));
    });
  }

  template <class Exec>
  void run_experts(Tape& tape, const Exec& executor) const {
    tape.experts.resize(experts.size());
    for (auto& expert_tape : tape.experts) detail::hand_down_keeping(tape.keep_activations, expert_tape);
    const auto count = static_cast<Index>(experts.size()), rows = tape.in_QD.rows() / count;
    detail::parallel_for(executor, count, [&](Index e) {
      const auto at = static_cast<std::size_t>(e);
      if (rows > 0)
        experts[at].forward(tape.in_QD.middleRows(e * rows, rows), tape.out_QD.middleRows(e * rows, rows),
                            tape.experts[at]);
    });
  }

  template <class Exec>
  void run_experts_backward(Tape& tape, SoftLayer& gradient, const Exec& executor) const {
    static_assert(
        TrainableExpert<X, S>,
        "moe::SoftLayer::backward: X cannot be trained: it needs backward(x, dy, tape, dx, gradient) const and "
        "visit_parameters; see moe/concepts.hpp");
    const auto count = static_cast<Index>(experts.size()), rows = tape.in_QD.rows() / count;
    detail::parallel_for(executor, count, [&](Index e) {
      const auto at = static_cast<std::size_t>(e);
      if (rows > 0)
        experts[at].backward(tape.in_QD.middleRows(e * rows, rows), tape.dout_QD.middleRows(e * rows, rows),
                             tape.experts[at], tape.din_QD.middleRows(e * rows, rows), gradient.experts[at]);
    });
  }
};

MOE_NAMESPACE_END
