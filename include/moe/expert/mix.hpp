// Learned weights of two outputs, token by token: of a layer's and an always-on expert's (moe/layer/shared.hpp), of the
// input and a constant (ConstantExpert). A mix of your own offers the same members.
#pragma once

#include <cmath>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/kernel/elementwise.hpp"
#include "moe/kernel/linear_map.hpp"

MOE_NAMESPACE_BEGIN

/// Both outputs as they are: nothing is learned.
struct PlainSum {};

/// With one logit, x weight' + bias: the first output as it is, the second times the sigmoid of the logit. With two:
/// the outputs times the softmax of the logits. `SigmoidMix` and `SoftmaxMix` are the names to use.
template <class S, int logits>
struct LearnedMix {
  static_assert(detail::ComputesIn<S>::is_known);
  static_assert(logits == 1 || logits == 2, "moe::LearnedMix: one logit (sigmoid) or two (softmax)");

  Matrix<S> weight_LD;
  Vector<S> bias_L = {};  ///< Empty: none.

  /// Normal weights with standard deviation 1 / sqrt(D).
  template <class Generator>
  static LearnedMix random(Index width, Generator& generator, bool bias = false) {
    require(width > 0, "LearnedMix: width ", width, ", it must be 1 or more");
    LearnedMix mix{random_matrix<S>(logits, width, generator, 1 / std::sqrt(static_cast<double>(width)))};
    if (bias) mix.bias_L.setZero(logits);
    return mix;
  }

  void check(Index width) const {
    require(weight_LD.rows() == logits && weight_LD.cols() == width, "LearnedMix: the weight is ", weight_LD.rows(),
            " x ", weight_LD.cols(), ", it must be ", logits, " x ", width);
    require(bias_L.size() == 0 || bias_L.size() == logits, "LearnedMix: a bias of ", bias_L.size(), " entries for ",
            logits, " logits");
  }

  /// mix_N2: the weights of the two outputs, for each row of x.
  template <class Exec = Serial>
  void forward(ConstMatrixRef<S> x_ND, MatrixRef<S> mix_N2, const Exec& executor = {}) const {
    check(x_ND.cols());
    require_shape("LearnedMix::forward: the mix", mix_N2, x_ND.rows(), 2);
    if (x_ND.rows() == 0) return;  // no memory in which to look for columns
    detail::linear_forward<S>(x_ND, weight_LD, bias_L, mix_N2.rightCols(logits), executor);
    for (Index n = 0; n < mix_N2.rows(); ++n) {
      const S logit = logits == 1 ? mix_N2(n, 1) : mix_N2(n, 1) - mix_N2(n, 0);
      mix_N2(n, 0) = logits == 1 ? S(1) : detail::sigmoid(-logit);
      mix_N2(n, 1) = detail::sigmoid(logit);
    }
  }

  /// Adds to dx and to the gradient, given that of the weights, which becomes that of the logits.
  template <class Exec = Serial>
  void backward(ConstMatrixRef<S> x_ND, ConstMatrixRef<S> mix_N2, MatrixRef<S> dmix_N2, MatrixRef<S> dx_ND,
                LearnedMix& gradient, const Exec& executor = {}) const {
    check(x_ND.cols());
    detail::require_same_shapes("LearnedMix::backward: the gradient", *this, gradient);
    require_shape("LearnedMix::backward: the mix", mix_N2, x_ND.rows(), 2);
    require_shape("LearnedMix::backward: the mix's gradient", dmix_N2, x_ND.rows(), 2);
    require_shape("LearnedMix::backward: dx", dx_ND, x_ND.rows(), x_ND.cols());
    if (x_ND.rows() == 0) return;
    for (Index n = 0; n < mix_N2.rows(); ++n) {
      const S first = logits == 1 ? S(1) - mix_N2(n, 1) : mix_N2(n, 0);
      const S difference = logits == 1 ? dmix_N2(n, 1) : dmix_N2(n, 1) - dmix_N2(n, 0);
      dmix_N2(n, 1) = first * mix_N2(n, 1) * difference;
      dmix_N2(n, 0) = -dmix_N2(n, 1);
    }
    detail::linear_weight_gradient<S>(dmix_N2.rightCols(logits), x_ND, gradient.weight_LD, gradient.bias_L, executor);
    detail::linear_input_gradient<S>(dmix_N2.rightCols(logits), weight_LD, dx_ND, true, executor);
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("weight", self.weight_LD...);
    if ((... || (self.bias_L.size() > 0))) f("bias", self.bias_L...);
  }
};

/// The gate of Qwen2-MoE's shared expert.
template <class S>
using SigmoidMix = LearnedMix<S, 1>;

/// Residual MoE (Rajbhandari et al. 2022, "DeepSpeed-MoE", section 4; there with a bias) and MoE++'s constant experts.
template <class S>
using SoftmaxMix = LearnedMix<S, 2>;

MOE_NAMESPACE_END
