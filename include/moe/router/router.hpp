// The learned projection from tokens to logits.
#pragma once

#include <algorithm>
#include <cmath>

#include "moe/core/buffer.hpp"
#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor_ref.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/kernel/linear_map.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/view.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// logits_TE = x_TD weight_ED' + bias_E.
template <class S>
struct Router {
  static_assert(detail::ComputesIn<S>::is_known);
  using Scalar = S;

  Matrix<S> weight_ED;
  Vector<S> bias_E = {};  ///< Empty: none.
  /// Multiplicative noise of the router's input in training, uniform in [1 - jitter, 1 + jitter) (Switch, Fedus et al.
  /// 2021, section 2.2: 1e-2). The experts see the input as it is. Draws: token by token, D uniforms each.
  double jitter = 0;

  struct Tape {
    Buffer<Matrix<S>> factor_TD, x_TD, dx_TD;  // of the jitter
    bool jittered = false;
  };

  /// Normal weights with standard deviation 1 / sqrt(D), no bias.
  template <class Generator>
  static Router random(Index experts, Index width, Generator& generator) {
    Router router = zeros(experts, width);
    detail::fill_normal(generator, 1 / std::sqrt(static_cast<double>(width)), router.weight_ED);
    return router;
  }

  /// All logits 0: every expert is equally good at the start (Shazeer et al. 2017, appendix A).
  static Router zeros(Index experts, Index width) {
    require(experts > 0 && width > 0, "Router: ", experts, " experts and tokens of width ", width,
            ", both must be 1 or more");
    return Router{Matrix<S>::Zero(experts, width)};
  }

  Index experts() const { return weight_ED.rows(); }
  Index width() const { return weight_ED.cols(); }

  void check() const {
    require(experts() > 0 && width() > 0, "Router: the weight is ", experts(), " x ", width(),
            ", it must be experts x width, both 1 or more");
    require(bias_E.size() == 0 || bias_E.size() == experts(), "Router: a bias of ", bias_E.size(), " entries for ",
            experts(), " experts");
    require(jitter >= 0 && jitter < 1, "Router: jitter is ", jitter, ", it must be in [0, 1)");
  }

  void forward(const Batch<S>& batch, Routing<S>& routing, Tape& tape, Random* random,
               detail::ExecutorRef executor = Serial{}) const {
    detail::check_router_pass(batch, routing, experts(), width());
    tape.jittered = random != nullptr && jitter > 0;
    if (tape.jittered) {
      tape.factor_TD.resize(batch.tokens(), width());
      std::fill_n(tape.factor_TD.data(), tape.factor_TD.size(), S(1));
      for (Index t = 0; t < batch.tokens(); ++t)
        if (batch.is_valid(t))
          for (Index d = 0; d < width(); ++d)
            tape.factor_TD(t, d) = static_cast<S>(1 - jitter + 2 * jitter * random->uniform());
      tape.x_TD.resize(batch.tokens(), width());
      for (Index t = 0; t < batch.tokens(); ++t) {
        const S *const x = detail::row_at(batch.x_TD, t), *const factor = detail::row_at(tape.factor_TD, t);
        detail::map_row(width(), detail::row_at(tape.x_TD, t), [=](Index d) { return x[d] * factor[d]; });
      }
    }
    detail::linear_forward<S>(input(batch, tape), weight_ED, bias_E, routing.logits_TE, executor);
  }

  /// gradient += dlogits' x, dx_TD += dlogits w (times the jitter).
  void backward(const Batch<S>& batch, const Routing<S>& routing, Routing<S>& drouting, Tape& tape, MatrixRef<S> dx_TD,
                Router& gradient, detail::ExecutorRef executor = Serial{}) const {
    detail::check_router_pass<S>(batch, routing, drouting, dx_TD, experts(), width());
    detail::require_same_shapes("Router::backward: the gradient", *this, gradient);
    if (tape.jittered) require_shape("Router::backward: the tape's jitter", tape.factor_TD, batch.tokens(), width());
    detail::linear_weight_gradient_of_marked<S>(
        drouting.logits_TE, input(batch, tape), routing.valid_T, routing.valid_tokens, drouting.workspace.rows_TE,
        drouting.workspace.rows_TD, gradient.weight_ED, gradient.bias_E, executor);
    if (tape.jittered) tape.dx_TD.resize(batch.tokens(), width());
    const View dinput_TD = tape.jittered ? View(tape.dx_TD) : View(dx_TD);
    detail::linear_input_gradient<S>(drouting.logits_TE, weight_ED, dinput_TD, !tape.jittered, executor);
    for (Index t = 0; t < batch.tokens() && tape.jittered; ++t) {
      S* const dx = detail::row_at(dx_TD, t);
      const S *const d = dinput_TD.row(t), *const factor = detail::row_at(tape.factor_TD, t);
      detail::map_row(width(), dx, [=](Index i) { return dx[i] + d[i] * factor[i]; });
    }
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("weight", self.weight_ED...);
    if ((... || (self.bias_E.size() > 0))) f("bias", self.bias_E...);
  }

 private:
  using View = detail::View<S>;

  /// What the weight multiplies.
  static detail::View<const S> input(const Batch<S>& batch, const Tape& tape) {
    return tape.jittered ? detail::View<const S>(tape.x_TD) : detail::View<const S>(batch.x_TD);
  }
};

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE struct Router<float>;
MOE_DETAIL_INSTANCE struct Router<double>;
#endif

MOE_NAMESPACE_END
