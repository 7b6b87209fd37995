// The feed-forward network of a transformer as an expert.
#pragma once

#include <cmath>

#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/executor.hpp"
#include "moe/kernel/activations.hpp"
#include "moe/kernel/buffer.hpp"
#include "moe/kernel/linear.hpp"
#include "moe/random.hpp"

MOE_NAMESPACE_BEGIN

/// How the weights of an expert start: normal, zero biases.
struct ExpertOptions {
  bool bias = false;
  double scale = 1;  ///< The standard deviation is sqrt(scale / inputs); Switch (section 2.4) recommends 0.1.

  void check() const {
    detail::require(detail::has_finite_bits(scale) && scale >= 0, "ExpertOptions: scale is ", scale,
                    ", it must be finite and 0 or more");
  }
};

/// y = act(x w1' + b1) w2' + b2, with act one of Relu, Gelu, GeluTanh, Silu.
template <class S, class Activation = Relu>
struct Mlp {
  Matrix<S> w1_FD, w2_DF;
  Vector<S> b1_F = {}, b2_D = {};  ///< Empty: none.

  struct Tape {
    Buffer<Matrix<S>> pre_NF, hidden_NF, dhidden_NF;
  };

  template <class Generator>
  static Mlp random(Index width, Index hidden, Generator& generator, ExpertOptions options = {}) {
    detail::require(width > 0 && hidden > 0, "Mlp: width ", width, " and hidden width ", hidden,
                    ", both must be 1 or more");
    options.check();
    Mlp expert{Matrix<S>(hidden, width), Matrix<S>(width, hidden)};
    detail::fill_normal(generator, std::sqrt(options.scale / static_cast<double>(width)), expert.w1_FD);
    detail::fill_normal(generator, std::sqrt(options.scale / static_cast<double>(hidden)), expert.w2_DF);
    if (options.bias) {
      expert.b1_F.setZero(hidden);
      expert.b2_D.setZero(width);
    }
    return expert;
  }

  Index output_width() const { return w2_DF.rows(); }

  void check(Index width) const {
    detail::require(w1_FD.cols() == width, "Mlp: w1 is ", w1_FD.rows(), " x ", w1_FD.cols(), ", the tokens have width ",
                    width);
    detail::require(w2_DF.cols() == w1_FD.rows(), "Mlp: w2 is ", w2_DF.rows(), " x ", w2_DF.cols(), " and w1 ",
                    w1_FD.rows(), " x ", w1_FD.cols(), ", the hidden widths differ");
    detail::require(b1_F.size() == 0 || b1_F.size() == w1_FD.rows(), "Mlp: b1 has ", b1_F.size(), " entries for ",
                    w1_FD.rows(), " hidden units");
    detail::require(b2_D.size() == 0 || b2_D.size() == w2_DF.rows(), "Mlp: b2 has ", b2_D.size(), " entries for ",
                    w2_DF.rows(), " outputs");
  }

  void forward(ConstMatrixRef<S> x_ND, MatrixRef<S> y_ND, Tape& tape) const {
    using Chunk = detail::Chunk<S>;
    tape.pre_NF.resize(x_ND.rows(), w1_FD.rows());
    tape.hidden_NF.resize(x_ND.rows(), w1_FD.rows());
    detail::linear_forward<S>(x_ND, w1_FD, b1_F, tape.pre_NF, Serial{});
    detail::map_chunks(
        tape.pre_NF.size(), tape.hidden_NF.data(), [](const Chunk& u) { return Activation::template value<S>(u); },
        tape.pre_NF.data());
    detail::linear_forward<S>(tape.hidden_NF, w2_DF, b2_D, y_ND, Serial{});
  }

  void backward(ConstMatrixRef<S> x_ND, ConstMatrixRef<S> dy_ND, Tape& tape, MatrixRef<S> dx_ND, Mlp& gradient) const {
    using Chunk = detail::Chunk<S>;
    detail::require_same_shapes("Mlp: gradient", *this, gradient);
    detail::linear_weight_gradient<S>(dy_ND, tape.hidden_NF, gradient.w2_DF, gradient.b2_D, Serial{});
    Buffer<Matrix<S>>& dpre_NF = tape.dhidden_NF;  // d hidden first, then times act'(pre)
    dpre_NF.resize(tape.pre_NF.rows(), tape.pre_NF.cols());
    detail::linear_input_gradient<S>(dy_ND, w2_DF, dpre_NF, false, Serial{});
    detail::map_chunks(
        dpre_NF.size(), dpre_NF.data(),
        [](const Chunk& dh, const Chunk& u) -> Chunk { return dh * Activation::template derivative<S>(u); },
        dpre_NF.data(), tape.pre_NF.data());
    detail::linear_weight_gradient<S>(dpre_NF, x_ND, gradient.w1_FD, gradient.b1_F, Serial{});
    detail::linear_input_gradient<S>(dpre_NF, w1_FD, dx_ND, false, Serial{});
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("w1", self.w1_FD...);
    f("w2", self.w2_DF...);
    if ((... || (self.b1_F.size() > 0))) f("b1", self.b1_F...);
    if ((... || (self.b2_D.size() > 0))) f("b2", self.b2_D...);
  }
};

static_assert(TrainableExpert<Mlp<float>, float>);

MOE_NAMESPACE_END
