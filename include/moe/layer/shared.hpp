// A layer with an expert beside it that sees every token: shared experts, with or without a learned gate, and residual
// mixtures.
#pragma once

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
#include "moe/core/random.hpp"
#include "moe/expert/mix.hpp"
#include "moe/expert/properties.hpp"
#include "moe/kernel/linear_map.hpp"
#include "moe/layer/run_experts.hpp"
#include "moe/layer/tape.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// y = a layer(x) + b expert(x), the weights a and b of each token by `mix`: PlainSum, 1 and 1 (DeepSeek's shared
/// experts); SigmoidMix, 1 and a sigmoid (Qwen2-MoE's); SoftmaxMix, a softmax (residual MoE). Padding gets a zero row.
///
/// `layer` is a Layer, or a Shared for one more. Used as a Layer is, by itself or as an expert of another layer; its
/// tape is the layer's with what the expert saves, so that routing, plan and generator lie where they do.
/// Errors: as of Layer; dx must not overlap dy.
template <class L, class X, class M = PlainSum>
struct Shared {
  using Scalar = typename L::Scalar;
  using S = Scalar;
  static_assert(!detail::computes_in<X, float, double, S> && !detail::computes_in<X, double, float, S>,
                "moe::Shared: the expert and the layer compute in float and double; make both of one scalar type");
  static_assert(Expert<X, S>,
                "moe::Shared: X is not an expert: it needs Tape and forward(x, y, tape) const; see moe/concepts.hpp");
  static constexpr bool is_mixed = !std::is_same_v<M, PlainSum>;

  L layer;
  X expert;
  M mix = {};

  struct Tape : L::Tape {
    using Base = typename L::Tape;
    using Base::Base;

    typename X::Tape shared;
    Buffer<Matrix<S>> shared_x_ND, shared_y_NO, layer_y_NO, mix_N2;  // of the tokens that are no padding
    Buffer<Matrix<S>> shared_dx_ND, shared_dy_NO, layer_dy_TO, dmix_N2;
    std::vector<Index> token;  // of each of these rows; empty: all tokens, and x is the batch itself
    Index shared_rows = -1;    // of the recorded pass; -1: none
  };

  Index output_width(Index width) const { return layer.output_width(width); }

  template <class Exec = DefaultExecutor>
  Matrix<S> forward(const Batch<S>& batch) const {
    Tape tape;
    tape.keep_activations = false;
    return forward(batch, tape, Exec{});
  }

  template <class Exec = DefaultExecutor>
  Matrix<S> forward(const Batch<S>& batch, Tape& tape, const Exec& executor = {}) const {
    check(batch.x_TD.cols());
    Matrix<S> y_TO(batch.tokens(), output_width(batch.x_TD.cols()));
    forward_into(batch, y_TO, tape, executor);
    return y_TO;
  }

  template <class Exec = DefaultExecutor>
  void forward_into(const Batch<S>& batch, MatrixRef<S> y_TO, Tape& tape, const Exec& executor = {}) const {
    check(batch.x_TD.cols());
    tape.shared_rows = -1;
    layer.forward_into(batch, y_TO, tape, executor);
    detail::hand_down(random_of(tape), tape.shared);
    detail::hand_down_keeping(tape.keep_activations, tape.shared);
    const Index rows = gather(batch, tape);
    tape.shared_y_NO.resize(rows, y_TO.cols());
    const ConstMatrixRef<S> x_ND = own_x(batch, tape, rows);
    detail::expert_forward<S>(expert, x_ND, tape.shared_y_NO, tape.shared, executor);
    if constexpr (is_mixed) {
      tape.mix_N2.resize(rows, 2);
      tape.layer_y_NO.resize(rows, y_TO.cols());
      mix.forward(x_ND, tape.mix_N2, executor);
    }
    for_each_row(rows, executor, [&](Index n) {
      auto y = y_TO.row(token_of(tape, n));
      if constexpr (is_mixed) {
        tape.layer_y_NO.row(n) = y;
        y = tape.mix_N2(n, 0) * tape.layer_y_NO.row(n) + tape.mix_N2(n, 1) * tape.shared_y_NO.row(n);
      } else {
        y += tape.shared_y_NO.row(n);
      }
    });
    tape.shared_rows = rows;
  }

  /// Throws std::invalid_argument unless the last forward pass on the tape was this layer's.
  void check_tape(const Tape& tape) const { layer.check_tape(tape); }

  /// Those of the layer and, if it has some, of the expert.
  S auxiliary_loss(const Tape& tape) const {
    S sum = layer.auxiliary_loss(tape);
    if constexpr (requires { expert.auxiliary_loss(tape.shared); }) sum += expert.auxiliary_loss(tape.shared);
    return sum;
  }

  template <class Exec = DefaultExecutor>
  Matrix<S> backward(const Batch<S>& batch, RowsRef<S> dy_TO, Tape& tape, Shared& gradient,
                     const Exec& executor = {}) const {
    Matrix<S> dx_TD(batch.tokens(), batch.x_TD.cols());
    backward_into(batch, std::move(dy_TO), tape, dx_TD, gradient, executor);
    return dx_TD;
  }

  template <class Exec = DefaultExecutor>
  void backward_into(const Batch<S>& batch, RowsRef<S> dy_TO, Tape& tape, MatrixRef<S> dx_TD, Shared& gradient,
                     const Exec& executor = {}) const {
    static_assert(TrainableExpert<X, S>,
                  "moe::Shared::backward: X cannot be trained: it needs backward(x, dy, tape, dx, gradient) const and "
                  "visit_parameters; see moe/concepts.hpp");
    check(batch, dy_TO, tape, dx_TD, gradient);
    detail::hand_down_scale(tape.loss_scale, tape.shared);
    if constexpr (StagedExpert<X, S>)  // refuses a tape of another expert before any gradient is written
      expert.begin_backward(tape.shared_rows, tape.shared);
    split(dy_TO, tape, executor);
    if constexpr (is_mixed)
      layer.backward_into(batch, tape.layer_dy_TO, tape, dx_TD, gradient.layer, executor);
    else
      layer.backward_into(batch, ConstMatrixRef<S>(dy_TO), tape, dx_TD, gradient.layer, executor);
    tape.shared_dx_ND.resize(tape.shared_rows, dx_TD.cols());
    const ConstMatrixRef<S> x_ND = own_x(batch, tape, tape.shared_rows);
    detail::expert_backward<S>(expert, x_ND, tape.shared_dy_NO, tape.shared, tape.shared_dx_ND, gradient.expert,
                               executor);
    if constexpr (is_mixed) mix.backward(x_ND, tape.mix_N2, tape.dmix_N2, tape.shared_dx_ND, gradient.mix, executor);
    for_each_row(tape.shared_rows, executor,
                 [&](Index n) { dx_TD.row(token_of(tape, n)) += tape.shared_dx_ND.row(n); });
  }

  /// As an expert of another layer.
  void forward(ConstMatrixRef<S> x_TD, MatrixRef<S> y_TO, Tape& tape) const {
    forward_into(tape.inner_batch(x_TD), y_TO, tape, Serial{});
  }
  void backward(ConstMatrixRef<S> x_TD, ConstMatrixRef<S> dy_TO, Tape& tape, MatrixRef<S> dx_TD,
                Shared& gradient) const {
    backward_into(tape.inner_batch(x_TD), dy_TO, tape, dx_TD, gradient, Serial{});
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    detail::visit_part("layer", f, self.layer...);
    detail::visit_part("expert", f, self.expert...);
    detail::visit_part("mix", f, self.mix...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    detail::visit_part_buffers("layer", f, self.layer...);
    detail::visit_part_buffers("expert", f, self.expert...);
    detail::visit_part_buffers("mix", f, self.mix...);
  }

  /// Throws std::invalid_argument unless the parts fit tokens of this width and each other.
  void check(Index width) const {
    layer.check(width);
    if constexpr (requires { expert.check(width); }) expert.check(width);
    require(detail::output_width(expert, width) == output_width(width), "Shared: the layer's outputs have ",
            output_width(width), " columns, the expert's ", detail::output_width(expert, width));
    if constexpr (is_mixed) mix.check(width);
  }

  void check_gradient(const Shared& gradient) const {
    detail::check_gradient("Shared: the gradient's layer", layer, gradient.layer);
    detail::check_gradient("Shared: the gradient's expert", expert, gradient.expert);
    detail::check_gradient("Shared: the gradient's mix", mix, gradient.mix);
  }

 private:
  template <class Exec, class F>
  static void for_each_row(Index rows, const Exec& executor, F&& f) {
    detail::parallel_blocks(executor, rows, 64, [&](Index begin, Index count) {
      for (Index n = begin; n < begin + count; ++n) f(n);
    });
  }

  static Random* random_of(Tape& tape) { return tape.random ? &*tape.random : nullptr; }

  static Index token_of(const Tape& tape, Index row) {
    return tape.token.empty() ? row : tape.token[static_cast<std::size_t>(row)];
  }

  static ConstMatrixRef<S> own_x(const Batch<S>& batch, const Tape& tape, Index rows) {
    if (rows == batch.tokens()) return batch.x_TD;
    return tape.shared_x_ND;
  }

  /// Leaves out what the layer's pass treats as padding: what it holds must not be seen. Returns the number of tokens.
  static Index gather(const Batch<S>& batch, Tape& tape) {
    tape.token.clear();
    const Routing<S>& routing = tape.routing;
    if (routing.valid_tokens == batch.tokens()) return batch.tokens();
    for (Index t = 0; t < batch.tokens(); ++t)
      if (routing.is_valid(t)) tape.token.push_back(t);
    detail::gather_marked_rows<S>(batch.x_TD, routing.valid_T, routing.valid_tokens, tape.shared_x_ND);
    return routing.valid_tokens;
  }

  /// The gradients of the two outputs, and of their weights.
  template <class Exec>
  static void split(ConstMatrixRef<S> dy_TO, Tape& tape, const Exec& executor) {
    tape.shared_dy_NO.resize(tape.shared_rows, dy_TO.cols());
    if constexpr (is_mixed) {
      tape.dmix_N2.resize(tape.shared_rows, 2);
      tape.layer_dy_TO.resize(dy_TO.rows(), dy_TO.cols());
      tape.layer_dy_TO.setZero();
    }
    for_each_row(tape.shared_rows, executor, [&](Index n) {
      const auto dy = dy_TO.row(token_of(tape, n));
      if constexpr (is_mixed) {
        tape.layer_dy_TO.row(token_of(tape, n)) = tape.mix_N2(n, 0) * dy;
        tape.shared_dy_NO.row(n) = tape.mix_N2(n, 1) * dy;
        tape.dmix_N2(n, 0) = dy.dot(tape.layer_y_NO.row(n));
        tape.dmix_N2(n, 1) = dy.dot(tape.shared_y_NO.row(n));
      } else {
        tape.shared_dy_NO.row(n) = dy;
      }
    });
  }

  void check(const Batch<S>& batch, ConstMatrixRef<S> dy_TO, const Tape& tape, ConstMatrixRef<S> dx_TD,
             const Shared& gradient) const {
    check(batch.x_TD.cols());
    batch.check();
    check_gradient(gradient);
    require(tape.shared_rows >= 0 && tape.routing.tokens() == batch.tokens() &&
                tape.shared_rows == tape.routing.valid_tokens,
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
