// A layer with an expert beside it that sees every token: shared experts, with or without a learned gate, and residual
// mixtures.
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/buffer.hpp"
#include "moe/core/check_gradient.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/expert/mix.hpp"
#include "moe/expert/properties.hpp"
#include "moe/expert/tape_settings.hpp"
#include "moe/kernel/linear_map.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/layer/always_on_expert.hpp"
#include "moe/layer/checks.hpp"
#include "moe/layer/passes.hpp"
#include "moe/routing/batch.hpp"

MOE_NAMESPACE_BEGIN

/// y = a layer(x) + b expert(x), the weights a and b of each token by `mix`: PlainSum, 1 and 1 (DeepSeek's shared
/// experts); SigmoidMix, 1 and a sigmoid (Qwen2-MoE's); SoftmaxMix, a softmax (residual MoE). Padding gets what the
/// layer gives it, that is, a zero row as a rule.
///
/// `layer` is a Layer, a SoftLayer, or a Shared for one more. Used as a Layer is (moe/layer/passes.hpp), by itself or
/// as an expert of another layer; its tape is the layer's own, with the same members, and what the expert saves.
/// Errors: as of Layer; dx must not overlap dy.
template <class L, class X, class M = PlainSum>
struct Shared : LayerPasses<Shared<L, X, M>> {
  static_assert(MixtureLayer<L>,
                "moe::Shared: what is given as layer is not a layer: it must be a Layer, SoftLayer or Shared, or offer "
                "what they do; see MixtureLayer in moe/concepts.hpp");
  using Scalar = typename L::Scalar;
  using S = Scalar;
  static_assert(!detail::computes_in<X, float, double, S> && !detail::computes_in<X, double, float, S>,
                "moe::Shared: the expert and the layer compute in float and double; make both of one scalar type");
  static_assert(Expert<X, S>,
                "moe::Shared: what is given as expert is not an expert: it needs Tape and forward(x, y, tape) const; "
                "see moe/concepts.hpp");
  static constexpr bool is_mixed = !std::is_same_v<M, PlainSum>;

  L layer;
  X expert;
  M mix;

  /// Of the N tokens that are no padding.
  struct Tape : L::Tape {
    using Base = typename L::Tape;
    using Base::Base;

    typename X::Tape shared;
    Buffer<Matrix<S>> shared_x_ND, shared_y_NO, layer_y_NO, mix_N2;
    Buffer<Matrix<S>> shared_dx_ND, shared_dy_NO, layer_dy_TO, dmix_N2;
    std::vector<Index> token;  ///< N; empty: all are tokens, and x_ND is the batch itself.
    Index shared_rows = -1;    ///< N of the recorded pass; -1: none.

    Index token_of(Index row) const { return token.empty() ? row : token[static_cast<std::size_t>(row)]; }
  };

  /// Holds nothing yet: as of Layer.
  Shared() requires(std::default_initializable<L>&& std::default_initializable<X>&& std::default_initializable<M>)
      : layer(), expert(), mix() {}

  Shared(L layer_, X expert_, M mix_ = {})
      : layer(std::move(layer_)), expert(std::move(expert_)), mix(std::move(mix_)) {
    check();
  }

  /// D; 0 if tokens of any width will do.
  Index width() const { return layer.width(); }

  /// O for tokens of width D.
  Index output_width(Index width) const { return layer.output_width(width); }

  template <class Exec = DefaultExecutor>
  void forward_into(const Batch<S>& batch, MatrixRef<S> y_TO, Tape& tape, const Exec& executor = {}) const {
    check_beside(batch.x_TD.cols());
    tape.shared_rows = -1;
    layer.forward_into(batch, y_TO, tape, executor);
    const Index rows = gather(batch, tape);
    const ConstMatrixRef<S> x_ND = own_x(batch, tape, rows);
    detail::set_seed(tape.draws(), tape.shared);
    detail::set_keep_activations(tape.keep_activations, tape.shared);
    tape.shared_y_NO.resize(rows, y_TO.cols());
    detail::always_on_forward<S>(expert, x_ND, tape.shared_y_NO, tape.shared, executor);
    if constexpr (is_mixed) {
      tape.mix_N2.resize(rows, 2);
      tape.layer_y_NO.resize(rows, y_TO.cols());
      mix.forward(x_ND, tape.mix_N2, executor);
    }
    for_each_row(rows, executor, [&](Index n) {
      S *const y = detail::row_at(y_TO, tape.token_of(n)), *const own_y = detail::row_at(tape.shared_y_NO, n);
      if constexpr (is_mixed) {
        S* const layer_y = detail::row_at(tape.layer_y_NO, n);
        detail::set_scaled_row<S>(1, y, y_TO.cols(), layer_y);
        detail::blend_rows<S>(tape.mix_N2(n, 0), layer_y, tape.mix_N2(n, 1), own_y, y_TO.cols(), y);
      } else {
        detail::add_scaled_row<S>(1, own_y, y_TO.cols(), y);
      }
    });
    tape.shared_rows = rows;
  }

  template <class Exec = DefaultExecutor>
  void backward_into(const Batch<S>& batch, RowsRef<S> dy_TO, Tape& tape, MatrixRef<S> dx_TD, Shared& gradient,
                     const Exec& executor = {}) const {
    static_assert(
        TrainableExpert<X, S>,
        "moe::Shared::backward: the expert cannot be trained: it needs backward(x, dy, tape, dx, gradient) const and "
        "visit_parameters; see moe/concepts.hpp");
    check_backward(batch, dy_TO, tape, dx_TD, gradient);
    const Index rows = tape.shared_rows;
    detail::set_loss_scale(tape.loss_scale, tape.shared);
    if constexpr (StagedExpert<X, S>)  // refuses a tape of another expert before any gradient is written
      expert.begin_backward(rows, tape.shared);
    split(dy_TO, tape, executor);
    if constexpr (is_mixed)
      layer.backward_into(batch, tape.layer_dy_TO, tape, dx_TD, gradient.layer, executor);
    else
      layer.backward_into(batch, ConstMatrixRef<S>(dy_TO), tape, dx_TD, gradient.layer, executor);
    const ConstMatrixRef<S> x_ND = own_x(batch, tape, rows);
    tape.shared_dx_ND.resize(rows, dx_TD.cols());
    detail::always_on_backward<S>(expert, x_ND, tape.shared_dy_NO, tape.shared, tape.shared_dx_ND, gradient.expert,
                                  executor);
    if constexpr (is_mixed) mix.backward(x_ND, tape.mix_N2, tape.dmix_N2, tape.shared_dx_ND, gradient.mix, executor);
    for_each_row(rows, executor, [&](Index n) {
      detail::add_scaled_row<S>(1, detail::row_at(tape.shared_dx_ND, n), dx_TD.cols(),
                                detail::row_at(dx_TD, tape.token_of(n)));
    });
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("layer", f, self.layer...);
    visit_part("expert", f, self.expert...);
    visit_part("mix", f, self.mix...);
  }

  /// Those of the layer and, if it has some, of the expert.
  S auxiliary_loss(const Tape& tape) const {
    S sum = layer.auxiliary_loss(tape);
    if constexpr (detail::HasAuxiliaryLoss<X>) sum += expert.auxiliary_loss(tape.shared);
    return sum;
  }

  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_part_buffers("layer", f, self.layer...);
    visit_part_buffers("expert", f, self.expert...);
    visit_part_buffers("mix", f, self.mix...);
  }

  // Each throws std::invalid_argument, with the numbers.

  /// Unless the last forward pass on the tape was this layer's.
  void check_tape(const Tape& tape) const { layer.check_tape(tape); }

  /// Unless the parts fit each other, as far as it is known without tokens.
  void check() const {
    layer.check();
    if (width() > 0) check_beside(width());
  }

  /// The same for tokens of this width.
  void check(Index width) const {
    layer.check(width);
    check_beside(width);
  }

  /// Unless the gradient is another value, of this layer's shapes.
  void check_gradient(const Shared& gradient) const {
    detail::check_gradient("Shared: the gradient's layer", layer, gradient.layer);
    detail::check_gradient("Shared: the gradient's expert", expert, gradient.expert);
    detail::check_gradient("Shared: the gradient's mix", mix, gradient.mix);
  }

 private:
  template <class Exec, class F>
  static void for_each_row(Index rows, const Exec& executor, const F& f) {
    detail::parallel_blocks(executor, rows, 64, [&](Index begin, Index count) {
      for (Index n = begin; n < begin + count; ++n) f(n);
    });
  }

  static ConstMatrixRef<S> own_x(const Batch<S>& batch, const Tape& tape, Index rows) {
    if (rows == batch.tokens()) return batch.x_TD;
    return tape.shared_x_ND;
  }

  /// Leaves out what the layer's pass treats as padding: what it holds must not be seen. Returns the number of tokens.
  static Index gather(const Batch<S>& batch, Tape& tape) {
    tape.token.clear();
    if (tape.valid_tokens() == batch.tokens()) return batch.tokens();
    for (Index t = 0; t < batch.tokens(); ++t)
      if (tape.is_valid(t)) tape.token.push_back(t);
    detail::gather_marked_rows<S>(batch.x_TD, tape.valid_T(), tape.valid_tokens(), tape.shared_x_ND);
    return tape.valid_tokens();
  }

  /// The gradients of the two outputs, and of their weights. Padding has the layer's alone.
  template <class Exec>
  static void split(const ConstMatrixRef<S>& dy_TO, Tape& tape, const Exec& executor) {
    const Index width = dy_TO.cols();
    tape.shared_dy_NO.resize(tape.shared_rows, width);
    if constexpr (is_mixed) {
      tape.dmix_N2.resize(tape.shared_rows, 2);
      tape.layer_dy_TO = dy_TO;
    }
    for_each_row(tape.shared_rows, executor, [&](Index n) {
      const S* const dy = detail::row_at(dy_TO, tape.token_of(n));
      if constexpr (is_mixed) {
        detail::set_scaled_row<S>(tape.mix_N2(n, 0), dy, width, detail::row_at(tape.layer_dy_TO, tape.token_of(n)));
        detail::set_scaled_row<S>(tape.mix_N2(n, 1), dy, width, detail::row_at(tape.shared_dy_NO, n));
        tape.dmix_N2(n, 0) = detail::dot_rows<S>(dy, detail::row_at(tape.layer_y_NO, n), width);
        tape.dmix_N2(n, 1) = detail::dot_rows<S>(dy, detail::row_at(tape.shared_y_NO, n), width);
      } else {
        detail::set_scaled_row<S>(1, dy, width, detail::row_at(tape.shared_dy_NO, n));
      }
    });
  }

  /// What is beside the layer fits tokens of this width, and the layer's outputs.
  void check_beside(Index width) const {
    const Index outputs = output_width(width);
    if constexpr (requires { expert.check(width); }) expert.check(width);
    require(detail::output_width(expert, width) == outputs, "Shared: the layer's outputs have ", outputs,
            " columns, the expert's ", detail::output_width(expert, width));
    if constexpr (is_mixed) mix.check(width);
  }

  void check_backward(const Batch<S>& batch, const ConstMatrixRef<S>& dy_TO, const Tape& tape,
                      const ConstMatrixRef<S>& dx_TD, const Shared& gradient) const {
    check(batch.x_TD.cols());
    batch.check();
    check_gradient(gradient);
    require(tape.shared_rows >= 0 && static_cast<Index>(tape.valid_T().size()) == batch.tokens() &&
                tape.shared_rows == tape.valid_tokens(),
            "Shared::backward: the tape holds no forward pass of a batch of ", batch.tokens(), " tokens");
    require(tape.kept_activations, "Shared::backward: keep_activations was false in the forward pass");
    layer.check_tape(tape);
    require_shape("Shared::backward: dy", dy_TO, batch.tokens(), output_width(batch.x_TD.cols()));
    require_shape("Shared::backward: the expert's output", tape.shared_y_NO, tape.shared_rows, dy_TO.cols());
    if constexpr (is_mixed) {
      require_shape("Shared::backward: the layer's output", tape.layer_y_NO, tape.shared_rows, dy_TO.cols());
      require_shape("Shared::backward: the mix", tape.mix_N2, tape.shared_rows, 2);
    }
    require(!detail::overlap<S>(dx_TD, dy_TO), "Shared::backward: dx overlaps dy in memory");
  }
};

template <class L, class X>
Shared(L, X) -> Shared<L, X>;
template <class L, class X, class M>
Shared(L, X, M) -> Shared<L, X, M>;

MOE_NAMESPACE_END
