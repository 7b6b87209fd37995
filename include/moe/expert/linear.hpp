// The simplest expert: one linear map.
#pragma once

#include <cmath>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/random.hpp"
#include "moe/kernel/linear_map.hpp"

MOE_NAMESPACE_BEGIN

/// y = x weight_OD' + bias_O (the experts of Jacobs et al. 1991).
template <class S>
struct Linear {
  static_assert(detail::ComputesIn<S>::is_known);
  Matrix<S> weight_OD;
  Vector<S> bias_O = {};  ///< Empty: none.

  struct Tape {};

  /// Normal weights with standard deviation 1 / sqrt(D), zero bias.
  template <class Generator>
  static Linear random(Index width, Index outputs, Generator& generator) {
    require(width > 0 && outputs > 0, "Linear: width ", width, " and ", outputs, " outputs, both must be 1 or more");
    Linear expert{Matrix<S>(outputs, width), Vector<S>::Zero(outputs)};
    detail::fill_normal(generator, 1 / std::sqrt(static_cast<double>(width)), expert.weight_OD);
    return expert;
  }

  Index output_width() const { return weight_OD.rows(); }

  void check(Index width) const {
    require(weight_OD.cols() == width, "Linear: the weight is ", weight_OD.rows(), " x ", weight_OD.cols(),
            ", the tokens have width ", width);
    require(bias_O.size() == 0 || bias_O.size() == weight_OD.rows(), "Linear: a bias of ", bias_O.size(),
            " entries for ", weight_OD.rows(), " outputs");
  }

  /// By itself, outside of a layer, it may use an executor's threads.
  template <class Exec = Serial>
  void forward(ConstMatrixRef<S> x_ND, MatrixRef<S> y_NO, Tape&, const Exec& executor = {}) const {
    detail::linear_forward<S>(x_ND, weight_OD, bias_O, y_NO, executor);
  }

  template <class Exec = Serial>
  void backward(ConstMatrixRef<S> x_ND, ConstMatrixRef<S> dy_NO, const Tape&, MatrixRef<S> dx_ND, Linear& gradient,
                const Exec& executor = {}) const {
    check(x_ND.cols());
    detail::require_same_shapes("Linear: gradient", *this, gradient);
    require_shape("Linear::backward: dy", dy_NO, x_ND.rows(), output_width());
    require_shape("Linear::backward: dx", dx_ND, x_ND.rows(), x_ND.cols());
    detail::linear_weight_gradient<S>(dy_NO, x_ND, gradient.weight_OD, gradient.bias_O, executor);
    detail::linear_input_gradient<S>(dy_NO, weight_OD, dx_ND, false, executor);
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("weight", self.weight_OD...);
    if ((... || (self.bias_O.size() > 0))) f("bias", self.bias_O...);
  }
};

MOE_NAMESPACE_END
