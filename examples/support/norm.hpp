// Layer norm and RMS norm.
#pragma once

#include <cmath>

#include "moe/core/core.hpp"

namespace example {

using moe::Index;

/// y = (x - m) / sqrt(v + epsilon) * gain + bias for each row, m its mean and v the mean of (x - m)^2 (Ba et al. 2016);
/// RMS norm (Zhang and Sennrich 2019) is the same with m = 0 and no bias.
template <class S>
struct Norm {
  moe::Vector<S> gain_D, bias_D;  ///< Empty bias: RMS norm.
  S epsilon = S(1e-5);

  struct Tape {
    moe::Matrix<S> normal_TD;
    moe::Vector<S> factor_T;  // 1 / sqrt(v + epsilon)
  };

  static Norm layer(Index width) { return {moe::Vector<S>::Ones(width), moe::Vector<S>::Zero(width)}; }
  static Norm rms(Index width) { return {moe::Vector<S>::Ones(width), {}}; }

  bool is_centered() const { return bias_D.size() > 0; }

  void forward(const moe::Matrix<S>& x_TD, moe::Matrix<S>& y_TD, Tape& tape) const {
    moe::require(x_TD.cols() == gain_D.size(), "Norm: tokens of width ", x_TD.cols(), ", the norm is for ",
                 gain_D.size());
    tape.normal_TD = x_TD;
    if (is_centered()) tape.normal_TD.colwise() -= moe::Vector<S>(x_TD.rowwise().mean());
    tape.factor_T =
        (tape.normal_TD.rowwise().squaredNorm().array() / static_cast<S>(x_TD.cols()) + epsilon).rsqrt().matrix();
    tape.normal_TD = tape.factor_T.asDiagonal() * tape.normal_TD;
    y_TD = tape.normal_TD * gain_D.asDiagonal();
    if (is_centered()) y_TD.rowwise() += bias_D.transpose();
  }

  /// dx += J' dy: what is normalised goes on beside it, in the residual.
  void backward_add(const moe::Matrix<S>& dy_TD, const Tape& tape, moe::Matrix<S>& dx_TD, Norm& gradient) const {
    gradient.gain_D += dy_TD.cwiseProduct(tape.normal_TD).colwise().sum().transpose();
    if (is_centered()) gradient.bias_D += dy_TD.colwise().sum().transpose();
    const S share = S(1) / static_cast<S>(dy_TD.cols());
    for (Index t = 0; t < dy_TD.rows(); ++t) {
      const auto normal = tape.normal_TD.row(t).array();
      const auto slope = dy_TD.row(t).array() * gain_D.transpose().array();
      const S along = share * (slope * normal).sum();
      const S shift = is_centered() ? share * slope.sum() : S(0);
      dx_TD.row(t).array() += tape.factor_T(t) * (slope - shift - along * normal);
    }
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("gain", self.gain_D...);
    if ((... || (self.bias_D.size() > 0))) f("bias", self.bias_D...);
  }
};

}  // namespace example
