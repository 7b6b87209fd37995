// Soft MoE: no token is routed. Every slot of every expert gets a weighted mean of all tokens, and every token a
// weighted mean of all slots' outputs; fully differentiable, and balanced by construction.
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/properties.hpp"
#include "moe/kernel/linear_map.hpp"
#include "moe/layer/checks.hpp"
#include "moe/layer/passes.hpp"
#include "moe/layer/run_experts.hpp"
#include "moe/layer/slot_means.hpp"
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
/// Not causal: every token sees every other of its group. Passes, errors and tapes are as of Layer; a seeded tape is
/// for experts that draw, and its x_ND and y_NO are of groups * P slots.
template <class S, class X>
struct SoftLayer : LayerPasses<SoftLayer<S, X>> {
  static_assert(detail::ComputesIn<S>::is_known);
  static_assert(Expert<X, S>,
                "moe::SoftLayer: what is given as expert is not an expert: it needs Tape and forward(x, y, tape) "
                "const; see moe/concepts.hpp");
  using Scalar = S;

  Matrix<S> slot_PD;       ///< Slots of expert e: rows e P / E ... (e + 1) P / E - 1.
  std::vector<X> experts;  ///< Outputs as wide as inputs.
  SoftOptions options;
  Vector<S> token_gain_D, slot_gain_D;  ///< Of options.normalize; else empty.

  struct Tape : ExpertsTape<S, typename X::Tape>, detail::SlotMeans<S> {
    using ExpertsTape<S, typename X::Tape>::ExpertsTape;
  };

  /// Holds nothing yet: as of Layer.
  SoftLayer() = default;

  SoftLayer(Matrix<S> slots, std::vector<X> experts_, SoftOptions options_ = {})
      : slot_PD(std::move(slots)), experts(std::move(experts_)), options(options_) {
    if (options.normalize) {
      token_gain_D.setOnes(slot_PD.cols());
      slot_gain_D.setOnes(slot_PD.cols());
    }
    check();
  }

  /// So many slots for each expert, for tokens of this width: normal, with standard deviation 1 / sqrt(D), and gains of
  /// 1 if they are normalised.
  template <class Generator>
  static SoftLayer random(Index slots_of_expert, Index width, std::vector<X> experts, Generator& generator,
                          SoftOptions options = {}) {
    require(slots_of_expert > 0 && width > 0, "SoftLayer::random: ", slots_of_expert,
            " slots for each expert, of width ", width, "; both must be 1 or more");
    const auto slots = slots_of_expert * static_cast<Index>(experts.size());
    return {random_matrix<S>(slots, width, generator, 1 / std::sqrt(static_cast<double>(width))), std::move(experts),
            options};
  }

  Index slots() const { return slot_PD.rows(); }

  /// D.
  Index width() const { return slot_PD.cols(); }

  /// O for tokens of width D, which is D.
  Index output_width(Index width) const {
    detail::require_filled("SoftLayer", experts.size());
    return width;
  }

  template <class Exec = DefaultExecutor>
  void forward_into(const Batch<S>& batch, MatrixRef<S> y_TD, Tape& tape, const Exec& executor = {}) const {
    check(batch);
    detail::require_output("SoftLayer::forward: y", y_TD, batch, width());
    tape.forget();
    tape.begin(batch, slots(), static_cast<Index>(experts.size()));
    detail::normalize_rows<S>(batch.x_TD, token_gain_D, tape.u_TD);
    detail::normalize_rows<S>(slot_PD, slot_gain_D, tape.w_PD);
    tape.weigh(options.padding_gets_mean);                                             // every token for every slot
    const detail::GatheredTokens<S> tokens{tape, tape.dispatch_TP, tape.u_TD, false};  // tokens to slots
    detail::begin_experts(experts, tape);
    detail::experts_forward<X, S>(experts, tape.first_row, width(), tape, tokens.inputs(), executor);
    y_TD.setZero();
    tape.scatter(tape.combine_TP, tape.y_NO, options.padding_gets_mean, y_TD, executor);  // slots to tokens
    tape.width = width();
    tape.layer = experts.data();
  }

  template <class Exec = DefaultExecutor>
  void backward_into(const Batch<S>& batch, RowsRef<S> dy_TD, Tape& tape, MatrixRef<S> dx_TD, SoftLayer& gradient,
                     const Exec& executor = {}) const {
    static_assert(TrainableExpert<X, S>,
                  "moe::SoftLayer::backward: the expert cannot be trained: it needs backward(x, dy, tape, dx, "
                  "gradient) const and visit_parameters; see moe/concepts.hpp");
    check_backward(batch, dy_TD, tape, dx_TD, gradient);
    gather_gradient(dy_TD, tape, executor);
    tape.weights_gradient(dy_TD, tape.y_NO, tape.dcombine_TP, executor);
    detail::experts_backward<X, S>(experts, tape.first_row, tape.dy_NO, tape, gradient.experts, executor);
    detail::zero_like<S>(tape.u_TD, tape.du_TD);
    tape.scatter(tape.dispatch_TP, tape.dx_ND, false, tape.du_TD, executor);
    tape.weights_gradient(tape.u_TD, tape.dx_ND, tape.ddispatch_TP, executor);
    tape.weigh_backward();
    logits_backward(tape);
    dx_TD.setZero();
    tape.normalize_backward(batch.x_TD, token_gain_D, tape.du_TD, true, dx_TD, gradient.token_gain_D);
    tape.normalize_backward(slot_PD, slot_gain_D, tape.dw_PD, false, gradient.slot_PD, gradient.slot_gain_D);
  }

  /// Of experts that are layers; else 0.
  S auxiliary_loss(const Tape& tape) const {
    require(tape.width >= 0 && tape.first_row.size() == experts.size() + 1,
            "SoftLayer::auxiliary_loss: the tape holds no forward pass of a layer of ", experts.size(), " experts");
    detail::require_own_tape("SoftLayer::auxiliary_loss", tape.layer, experts.data());
    S sum = 0;
    detail::add_losses(experts, tape.first_row, tape, sum);
    return sum;
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("slots", self.slot_PD...);
    if ((... || (self.token_gain_D.size() > 0))) f("token_gain", self.token_gain_D...);
    if ((... || (self.slot_gain_D.size() > 0))) f("slot_gain", self.slot_gain_D...);
    visit_list("experts", f, self.experts...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_list_buffers("experts", f, self.experts...);
  }

  // Each throws std::invalid_argument, with the numbers.

  /// Unless slots, gains and experts fit together.
  void check() const {
    const auto count = static_cast<Index>(experts.size());
    detail::require_filled("SoftLayer", experts.size());
    require(slots() > 0 && slots() % count == 0, "SoftLayer: ", slots(), " slots do not divide among ", count,
            " experts");
    const Index gain = options.normalize ? width() : 0;
    require(token_gain_D.size() == gain && slot_gain_D.size() == gain, "SoftLayer: gains of ", token_gain_D.size(),
            " and ", slot_gain_D.size(), " entries, they need ", gain);
    for (const X& expert : experts) {
      if constexpr (requires { expert.check(width()); }) expert.check(width());
      require(detail::output_width(expert, width()) == width(), "SoftLayer: outputs of width ",
              detail::output_width(expert, width()), " for tokens of width ", width());
    }
  }

  /// The same, and unless it is for tokens of this width.
  void check(Index token_width) const {
    check();
    require(token_width == width(), "SoftLayer: tokens of width ", token_width, ", the slots are for width ", width());
  }

  /// Unless the last forward pass on the tape was this layer's.
  void check_tape(const Tape& tape) const {
    detail::require_own_tape("SoftLayer::backward", tape.layer, experts.data());
  }

  /// Unless the gradient is another value, of this layer's shapes.
  void check_gradient(const SoftLayer& gradient) const {
    require(&gradient != this, "SoftLayer::backward: the gradient is the layer itself");
    require_shape("SoftLayer: the gradient's slots", gradient.slot_PD, slots(), width());
    require_shape("SoftLayer: the gradient's gain of tokens", gradient.token_gain_D, token_gain_D.rows(), 1);
    require_shape("SoftLayer: the gradient's gain of slots", gradient.slot_gain_D, slot_gain_D.rows(), 1);
    detail::check_gradients_of_experts("SoftLayer: the gradient's expert", experts, gradient.experts);
  }

 private:
  void check(const Batch<S>& batch) const {
    batch.check();
    check(batch.x_TD.cols());
  }

  void check_backward(const Batch<S>& batch, const ConstMatrixRef<S>& dy_TD, const Tape& tape,
                      const ConstMatrixRef<S>& dx_TD, const SoftLayer& gradient) const {
    check(batch);
    detail::require_pass("SoftLayer::backward", batch, tape, tape.marks_T, tape.group_size, experts.data());
    detail::require_kept("SoftLayer::backward", tape, experts.size());
    require(tape.slots() == slots(), "SoftLayer::backward: the tape is of ", tape.slots(), " slots, the layer has ",
            slots());
    require_shape("SoftLayer::backward: dy", dy_TD, batch.tokens(), width());
    detail::require_output("SoftLayer::backward: dx", dx_TD, batch, width());
    check_gradient(gradient);
  }

  /// dy of the slots' outputs.
  template <class Exec>
  void gather_gradient(const ConstMatrixRef<S>& dy_TD, Tape& tape, const Exec& executor) const {
    tape.dy_NO.resize(tape.y_NO.rows(), tape.y_NO.cols());
    MatrixRef<S> dy_NO = tape.dy_NO;
    detail::parallel_blocks(executor, dy_NO.rows(), detail::rows_a_task, [&](Index begin, Index count) {
      tape.gather(tape.combine_TP, dy_TD, options.padding_gets_mean, begin, detail::rows_at<S>(dy_NO, begin, count));
    });
  }

  /// du_TD and dw_PD += those through the logits; sums over tokens do not see padding at all.
  static void logits_backward(Tape& tape) {
    detail::gather_marked_rows<S>(tape.dlogits_TP, tape.marks_T, tape.marked, tape.dlogits_of_tokens);
    detail::gather_marked_rows<S>(tape.u_TD, tape.marks_T, tape.marked, tape.u_of_tokens);
    detail::zero_like<S>(tape.w_PD, tape.dw_PD);
    detail::add_product_of_rows<S>(tape.dlogits_of_tokens, tape.u_of_tokens, tape.dw_PD);
    detail::multiply<S>(tape.dlogits_TP, tape.w_PD, false, tape.du_TD, true);
  }
};

MOE_NAMESPACE_END
