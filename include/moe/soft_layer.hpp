// Soft MoE: no token is routed. Every slot of every expert gets a weighted mean of all tokens, and every token a
// weighted mean of all slots' outputs; fully differentiable, and balanced by construction.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "moe/batch.hpp"
#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/executor.hpp"
#include "moe/kernel/gemm.hpp"
#include "moe/kernel/softmax.hpp"
#include "moe/layer_tape.hpp"
#include "moe/parameters.hpp"

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
/// Not causal: every token sees every other of its group.
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
    Matrix<S> u_TD, w_PD, logits_TP, dispatch_TP, combine_TP, in_QD, out_QD;  // Q = groups * P, expert by expert
    Matrix<S> dlogits_TP, din_QD, dout_QD, du_TD, dw_PD, ddispatch_TP, dcombine_TP;
    std::vector<typename X::Tape> experts;
    bool keep_activations = true;  ///< false, set by the caller: for inference, without a backward pass.
    Index width = -1;              ///< Of the recorded pass; -1: none that a backward pass may follow.
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
    detail::require(count > 0 && slots() > 0 && slots() % count == 0, "SoftLayer: ", slots(),
                    " slots do not divide among ", count, " experts");
    const Index gain = options.normalize ? slot_PD.cols() : 0;
    detail::require(token_gain_D.size() == gain && slot_gain_D.size() == gain, "SoftLayer: gains of ",
                    token_gain_D.size(), " and ", slot_gain_D.size(), " entries, they need ", gain);
    for (const X& expert : experts) {
      if constexpr (requires { expert.check(slot_PD.cols()); }) expert.check(slot_PD.cols());
      detail::require(detail::output_width(expert, slot_PD.cols()) == slot_PD.cols(), "SoftLayer: outputs of width ",
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
    detail::require(batch.x_TD.cols() == slot_PD.cols(), "SoftLayer: tokens of width ", batch.x_TD.cols(),
                    ", the slots are for width ", slot_PD.cols());
    tape.width = -1;
    normalized(batch.x_TD, token_gain_D, tape.u_TD);
    normalized(slot_PD, slot_gain_D, tape.w_PD);
    tape.logits_TP.resize(batch.tokens(), slots());
    multiply(tape.u_TD, false, tape.w_PD, true, tape.logits_TP, false);
    softmax_over_slots(batch, tape);
    softmax_over_tokens(batch, tape);
    tape.in_QD.resize(batch.groups() * slots(), slot_PD.cols());
    tape.out_QD.resize(tape.in_QD.rows(), slot_PD.cols());
    Matrix<S> y_TD(batch.tokens(), batch.x_TD.cols());
    for_each_group(batch, [&](Index g, Index begin, Index size) {
      gather_slots(g, batch.groups(), begin, size, tape.u_TD, tape.dispatch_TP, tape.in_QD);
    });
    run_experts(batch.groups(), tape, executor);
    for_each_group(batch, [&](Index g, Index begin, Index size) {
      scatter_slots(g, batch.groups(), begin, size, tape.combine_TP, tape.out_QD, y_TD, false);
    });
    if (tape.keep_activations) tape.width = batch.x_TD.cols();
    return y_TD;
  }

  /// dx_TD; gradient += ...
  template <class Exec = DefaultExecutor>
  Matrix<S> backward(const Batch<S>& batch, ConstMatrixRef<S> dy_TD, Tape& tape, SoftLayer& gradient,
                     const Exec& executor = {}) const {
    detail::require(tape.width == batch.x_TD.cols() && tape.logits_TP.rows() == batch.tokens(),
                    "SoftLayer::backward: the tape is not of a pass with these ", batch.tokens(),
                    " tokens that kept its activations");
    detail::require_shape("SoftLayer::backward: dy", dy_TD, batch.tokens(), batch.x_TD.cols());
    detail::require(gradient.experts.size() == experts.size() && &gradient != this,
                    "SoftLayer::backward: the gradient has ", gradient.experts.size(),
                    " experts, or is the layer itself");
    detail::check_gradient("SoftLayer: the gradient", *this, gradient);
    const Matrix<S> dy = dy_TD;
    tape.dout_QD.resizeLike(tape.out_QD);
    tape.din_QD.resizeLike(tape.in_QD);
    tape.dcombine_TP.setZero(batch.tokens(), slots());
    tape.ddispatch_TP.setZero(batch.tokens(), slots());
    tape.du_TD.setZero(batch.tokens(), batch.x_TD.cols());
    for_each_group(batch, [&](Index g, Index begin, Index size) {
      gather_slots(g, batch.groups(), begin, size, dy, tape.combine_TP, tape.dout_QD);
      weights_gradient(g, batch.groups(), begin, size, dy, tape.out_QD, tape.dcombine_TP);
    });
    run_experts_backward(batch.groups(), tape, gradient, executor);
    for_each_group(batch, [&](Index g, Index begin, Index size) {
      scatter_slots(g, batch.groups(), begin, size, tape.dispatch_TP, tape.din_QD, tape.du_TD, true);
      weights_gradient(g, batch.groups(), begin, size, tape.u_TD, tape.din_QD, tape.ddispatch_TP);
    });
    softmax_backward(batch, tape);
    tape.dw_PD.setZero(slots(), slot_PD.cols());
    multiply(tape.dlogits_TP, true, tape.u_TD, false, tape.dw_PD, false);
    multiply(tape.dlogits_TP, false, tape.w_PD, false, tape.du_TD, true);
    Matrix<S> dx_TD = Matrix<S>::Zero(batch.tokens(), batch.x_TD.cols());
    normalized_backward(batch.x_TD, token_gain_D, tape.du_TD, dx_TD, gradient.token_gain_D);
    normalized_backward(slot_PD, slot_gain_D, tape.dw_PD, gradient.slot_PD, gradient.slot_gain_D);
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
  template <class F>
  static void for_each_group(const Batch<S>& batch, F&& f) {
    const Index groups = batch.groups(), size = groups > 0 ? batch.tokens() / groups : 0;
    for (Index g = 0; g < groups; ++g) f(g, g * size, size);
  }

  /// The row of a group's slot p: all groups' slots of one expert lie together.
  Index row_of(Index group, Index groups, Index p) const {
    const Index each = slots() / static_cast<Index>(experts.size());
    return (p / each * groups + group) * each + p % each;
  }

  /// c = [c +] op(a) op(b), op a transposition or nothing.
  static void multiply(const Matrix<S>& a, bool transpose_a, const Matrix<S>& b, bool transpose_b, Matrix<S>& c,
                       bool accumulate) {
    const auto strided = [](const Matrix<S>& m, bool transpose) {
      return transpose ? detail::Strided<S>{m.data(), 1, m.cols()} : detail::Strided<S>{m.data(), m.cols(), 1};
    };
    detail::gemm<S>(c.rows(), c.cols(), transpose_a ? a.rows() : a.cols(), strided(a, transpose_a),
                    strided(b, transpose_b), c.data(), c.cols(), accumulate);
  }

  /// gain .* sqrt(D) v / |v| by rows; v itself without a gain.
  static void normalized(ConstMatrixRef<S> v, const Vector<S>& gain, Matrix<S>& u) {
    u = v;
    if (gain.size() == 0) return;
    const S root = std::sqrt(static_cast<S>(v.cols()));
    for (Index i = 0; i < v.rows(); ++i)
      u.row(i) = (root / (std::max)(v.row(i).norm(), S(1e-12))) * v.row(i).cwiseProduct(gain.transpose());
  }

  /// With d = v / |v|, e = gain .* du: dgain += sqrt(D) du .* d, dv += sqrt(D) (e - (e . d) d) / |v|.
  static void normalized_backward(ConstMatrixRef<S> v, const Vector<S>& gain, const Matrix<S>& du, Matrix<S>& dv,
                                  Vector<S>& dgain) {
    if (gain.size() == 0) {
      dv += du;
      return;
    }
    const S root = std::sqrt(static_cast<S>(v.cols()));
    for (Index i = 0; i < v.rows(); ++i) {
      const S length = (std::max)(v.row(i).norm(), S(1e-12));
      const Vector<S> d = v.row(i).transpose() / length, e = gain.cwiseProduct(du.row(i).transpose());
      dgain += root * du.row(i).transpose().cwiseProduct(d);
      dv.row(i) += root / length * (e - e.dot(d) * d).transpose();
    }
  }

  void softmax_over_slots(const Batch<S>& batch, Tape& tape) const {
    tape.combine_TP.resizeLike(tape.logits_TP);
    for (Index t = 0; t < batch.tokens(); ++t) {
      if (batch.is_valid(t))
        detail::softmax_row(tape.logits_TP.row(t).data(), slots(), tape.combine_TP.row(t).data());
      else
        tape.combine_TP.row(t).setConstant(options.padding_gets_mean ? S(1) / static_cast<S>(slots()) : S(0));
    }
  }

  void softmax_over_tokens(const Batch<S>& batch, Tape& tape) const {
    tape.dispatch_TP.setZero(batch.tokens(), slots());
    Vector<S> column(batch.tokens());
    for_each_group(batch, [&](Index, Index begin, Index size) {
      for (Index p = 0; p < slots(); ++p) {
        Index count = 0;
        for (Index t = begin; t < begin + size; ++t)
          if (batch.is_valid(t)) column(count++) = tape.logits_TP(t, p);
        detail::softmax_row(column.data(), count, column.data());
        count = 0;
        for (Index t = begin; t < begin + size; ++t)
          if (batch.is_valid(t)) tape.dispatch_TP(t, p) = column(count++);
      }
    });
  }

  void softmax_backward(const Batch<S>& batch, Tape& tape) const {
    tape.dlogits_TP.setZero(batch.tokens(), slots());
    for (Index t = 0; t < batch.tokens(); ++t)
      if (batch.is_valid(t))
        detail::softmax_row_backward(tape.combine_TP.row(t).data(), tape.dcombine_TP.row(t).data(), slots(),
                                     tape.dlogits_TP.row(t).data());
    for_each_group(batch, [&](Index, Index begin, Index size) {
      for (Index p = 0; p < slots(); ++p) {
        const auto d = tape.dispatch_TP.col(p).segment(begin, size).array();
        const auto dd = tape.ddispatch_TP.col(p).segment(begin, size).array();
        tape.dlogits_TP.col(p).segment(begin, size).array() += d * (dd - (d * dd).sum());
      }
    });
  }

  /// rows of the group's slots = weights' tokens.
  void gather_slots(Index g, Index groups, Index begin, Index size, const Matrix<S>& tokens_TD,
                    const Matrix<S>& weights_TP, Matrix<S>& slots_QD) const {
    for (Index p = 0; p < slots(); ++p) {
      auto row = slots_QD.row(row_of(g, groups, p));
      row.setZero();
      for (Index t = begin; t < begin + size; ++t)
        if (weights_TP(t, p) != S(0)) row += weights_TP(t, p) * tokens_TD.row(t);
    }
  }

  /// tokens = [tokens +] weights slots.
  void scatter_slots(Index g, Index groups, Index begin, Index size, const Matrix<S>& weights_TP,
                     const Matrix<S>& slots_QD, Matrix<S>& tokens_TD, bool accumulate) const {
    for (Index t = begin; t < begin + size; ++t) {
      if (!accumulate) tokens_TD.row(t).setZero();
      for (Index p = 0; p < slots(); ++p) tokens_TD.row(t) += weights_TP(t, p) * slots_QD.row(row_of(g, groups, p));
    }
  }

  /// dweights(t, p) = token t . slot p.
  void weights_gradient(Index g, Index groups, Index begin, Index size, const Matrix<S>& tokens_TD,
                        const Matrix<S>& slots_QD, Matrix<S>& dweights_TP) const {
    for (Index t = begin; t < begin + size; ++t)
      for (Index p = 0; p < slots(); ++p) dweights_TP(t, p) = tokens_TD.row(t).dot(slots_QD.row(row_of(g, groups, p)));
  }

  template <class Exec>
  void run_experts(Index groups, Tape& tape, const Exec& executor) const {
    tape.experts.resize(experts.size());
    for (auto& expert_tape : tape.experts) detail::hand_down_keeping(tape.keep_activations, expert_tape);
    const auto count = static_cast<Index>(experts.size()), rows = groups * slots() / count;
    detail::parallel_for(executor, count, [&](Index e) {
      const auto at = static_cast<std::size_t>(e);
      if (rows > 0)
        experts[at].forward(tape.in_QD.middleRows(e * rows, rows), tape.out_QD.middleRows(e * rows, rows),
                            tape.experts[at]);
    });
  }

  template <class Exec>
  void run_experts_backward(Index groups, Tape& tape, SoftLayer& gradient, const Exec& executor) const {
    static_assert(
        TrainableExpert<X, S>,
        "moe::SoftLayer::backward: X cannot be trained: it needs backward(x, dy, tape, dx, gradient) const and "
        "visit_parameters; see moe/concepts.hpp");
    const auto count = static_cast<Index>(experts.size()), rows = groups * slots() / count;
    detail::parallel_for(executor, count, [&](Index e) {
      const auto at = static_cast<std::size_t>(e);
      if (rows > 0)
        experts[at].backward(tape.in_QD.middleRows(e * rows, rows), tape.dout_QD.middleRows(e * rows, rows),
                             tape.experts[at], tape.din_QD.middleRows(e * rows, rows), gradient.experts[at]);
    });
  }
};

MOE_NAMESPACE_END
