// Experts that cost next to nothing, to stand among others, so that easy tokens get less computation (Jin et al. 2024,
// "MoE++", section 3.1; the identity alone: LongCat-Flash).
#pragma once

#include <utility>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/mix.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"

MOE_NAMESPACE_BEGIN

/// y = 0: discards the token.
template <class S>
struct ZeroExpert {
  static_assert(detail::ComputesIn<S>::is_known);
  struct Tape {};

  void forward(ConstMatrixRef<S>, MatrixRef<S> y_ND, Tape&) const { y_ND.setZero(); }
  void backward(ConstMatrixRef<S>, ConstMatrixRef<S>, const Tape&, MatrixRef<S> dx_ND, ZeroExpert&) const {
    dx_ND.setZero();
  }
  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
};

/// y = x: copies the token.
template <class S>
struct IdentityExpert {
  static_assert(detail::ComputesIn<S>::is_known);
  struct Tape {};

  void forward(ConstMatrixRef<S> x_ND, MatrixRef<S> y_ND, Tape&) const {
    require_shape("IdentityExpert::forward: y", y_ND, x_ND.rows(), x_ND.cols());
    y_ND = x_ND;
  }
  void backward(ConstMatrixRef<S>, ConstMatrixRef<S> dy_ND, const Tape&, MatrixRef<S> dx_ND, IdentityExpert&) const {
    require_shape("IdentityExpert::backward: dx", dx_ND, dy_ND.rows(), dy_ND.cols());
    dx_ND = dy_ND;
  }
  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
};

/// y = a_0 x + a_1 v with a learned vector v and a = softmax(x mix'); without a mix, y = v.
template <class S>
struct ConstantExpert {
  static_assert(detail::ComputesIn<S>::is_known);
  Vector<S> value_D;
  SoftmaxMix<S> mix = {};  ///< Empty: none.

  struct Tape {
    Buffer<Matrix<S>> mix_N2, dmix_N2;
  };

  /// As in MoE++: a standard normal value, and a mix.
  template <class Generator>
  static ConstantExpert random(Index width, Generator& generator) {
    require(width > 0, "ConstantExpert: width ", width, ", it must be 1 or more");
    Vector<S> value = random_matrix<S>(width, 1, generator);
    return {std::move(value), SoftmaxMix<S>::random(width, generator)};
  }

  Index output_width() const { return value_D.size(); }
  bool mixes() const { return mix.weight_LD.size() > 0; }

  void check(Index width) const {
    if (!mixes()) return;
    mix.check(width);
    require(value_D.size() == width, "ConstantExpert: the value has ", value_D.size(),
            " entries, the tokens to mix it with have width ", width);
  }

  void forward(ConstMatrixRef<S> x_ND, MatrixRef<S> y_ND, Tape& tape) const {
    check(x_ND.cols());
    require_shape("ConstantExpert::forward: y", y_ND, x_ND.rows(), output_width());
    if (!mixes()) {
      y_ND.rowwise() = value_D.transpose();
      return;
    }
    tape.mix_N2.resize(x_ND.rows(), 2);
    mix.forward(x_ND, tape.mix_N2);
    for (Index n = 0; n < x_ND.rows(); ++n)
      y_ND.row(n) = tape.mix_N2(n, 0) * x_ND.row(n) + tape.mix_N2(n, 1) * value_D.transpose();
  }

  void backward(ConstMatrixRef<S> x_ND, ConstMatrixRef<S> dy_ND, Tape& tape, MatrixRef<S> dx_ND,
                ConstantExpert& gradient) const {
    check(x_ND.cols());
    detail::require_same_shapes("ConstantExpert::backward: the gradient", *this, gradient);
    require_shape("ConstantExpert::backward: dy", dy_ND, x_ND.rows(), output_width());
    require_shape("ConstantExpert::backward: dx", dx_ND, x_ND.rows(), x_ND.cols());
    if (!mixes()) {
      detail::add_column_sums<S>(dy_ND, gradient.value_D.data());
      dx_ND.setZero();
      return;
    }
    require_shape("ConstantExpert: the mix of the tape", tape.mix_N2, x_ND.rows(), 2);
    tape.dmix_N2.resize(x_ND.rows(), 2);
    for (Index n = 0; n < x_ND.rows(); ++n) {
      tape.dmix_N2(n, 0) = dy_ND.row(n).dot(x_ND.row(n));
      tape.dmix_N2(n, 1) = dy_ND.row(n).dot(value_D.transpose());
      dx_ND.row(n) = tape.mix_N2(n, 0) * dy_ND.row(n);
    }
    const auto add = [&](Index n, Index first, Index count, S* sums) {
      detail::add_scaled_row(tape.mix_N2(n, 1), detail::row_at(dy_ND, n) + first, count, sums);
      return true;
    };
    detail::add_terms<S>(dy_ND.rows(), dy_ND.cols(), gradient.value_D.data(), add);
    mix.backward(x_ND, tape.mix_N2, tape.dmix_N2, dx_ND, gradient.mix);
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("value", self.value_D...);
    if ((... || self.mixes())) visit_part("mix", f, self.mix...);
  }
};

MOE_NAMESPACE_END
