// Gated linear units as experts: SwiGLU, GEGLU, ReGLU.
#pragma once

#include <cmath>

#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/executor.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/kernel/activations.hpp"
#include "moe/kernel/buffer.hpp"
#include "moe/kernel/linear.hpp"
#include "moe/random.hpp"

MOE_NAMESPACE_BEGIN

/// y = (act(x w1' + b1) .* (x w3' + b3)) w2' + b2 (Shazeer 2020, "GLU Variants Improve Transformer"). In the names of
/// Mixtral: w1 the gate projection, w3 the up projection, w2 the down projection.
template <class S, class Activation>
struct Glu {
  Matrix<S> w1_FD, w3_FD, w2_DF;
  Vector<S> b1_F = {}, b3_F = {}, b2_D = {};  ///< Empty: none.
  Vector<S> multiplier_F = {};                ///< Of the hidden units (ST-MoE's multiplicative bias). Empty: none.

  struct Tape {
    Buffer<Matrix<S>> gate_NF, up_NF, hidden_NF, dgate_NF, dup_NF;  // gate before its activation
    Buffer<Matrix<S>> product_NF;                                   // of act(gate) and up, before the multiplier
  };

  template <class Generator>
  static Glu random(Index width, Index hidden, Generator& generator, ExpertOptions options = {}) {
    detail::require(width > 0 && hidden > 0, "Glu: width ", width, " and hidden width ", hidden,
                    ", both must be 1 or more");
    options.check();
    Glu expert{Matrix<S>(hidden, width), Matrix<S>(hidden, width), Matrix<S>(width, hidden)};
    detail::fill_normal(generator, std::sqrt(options.scale / static_cast<double>(width)), expert.w1_FD);
    detail::fill_normal(generator, std::sqrt(options.scale / static_cast<double>(width)), expert.w3_FD);
    detail::fill_normal(generator, std::sqrt(options.scale / static_cast<double>(hidden)), expert.w2_DF);
    if (options.bias) {
      expert.b1_F.setZero(hidden);
      expert.b3_F.setZero(hidden);
      expert.b2_D.setZero(width);
    }
    return expert;
  }

  Index output_width() const { return w2_DF.rows(); }

  void check(Index width) const {
    detail::require(w1_FD.cols() == width && w3_FD.cols() == width, "Glu: w1 has ", w1_FD.cols(), " and w3 ",
                    w3_FD.cols(), " columns, the tokens have width ", width);
    const Index hidden = w1_FD.rows();
    detail::require(w3_FD.rows() == hidden && w2_DF.cols() == hidden, "Glu: the hidden widths of w1, w3 and w2, ",
                    hidden, ", ", w3_FD.rows(), " and ", w2_DF.cols(), ", differ");
    detail::require((b1_F.size() == 0 || b1_F.size() == hidden) && (b3_F.size() == 0 || b3_F.size() == hidden),
                    "Glu: b1 and b3 have ", b1_F.size(), " and ", b3_F.size(), " entries for ", hidden,
                    " hidden units");
    detail::require(b2_D.size() == 0 || b2_D.size() == w2_DF.rows(), "Glu: b2 has ", b2_D.size(), " entries for ",
                    w2_DF.rows(), " outputs");
    detail::require(multiplier_F.size() == 0 || multiplier_F.size() == hidden, "Glu: the multiplier has ",
                    multiplier_F.size(), " entries for ", hidden, " hidden units");
  }

  void forward(ConstMatrixRef<S> x_ND, MatrixRef<S> y_ND, Tape& tape) const {
    using Chunk = detail::Chunk<S>;
    const Index rows = x_ND.rows(), hidden = w1_FD.rows();
    tape.gate_NF.resize(rows, hidden);
    tape.up_NF.resize(rows, hidden);
    tape.hidden_NF.resize(rows, hidden);
    detail::linear_forward<S>(x_ND, w1_FD, b1_F, tape.gate_NF, Serial{});
    detail::linear_forward<S>(x_ND, w3_FD, b3_F, tape.up_NF, Serial{});
    detail::map_chunks(
        rows * hidden, tape.hidden_NF.data(),
        [](const Chunk& gate, const Chunk& up) -> Chunk { return Activation::template value<S>(gate) * up; },
        tape.gate_NF.data(), tape.up_NF.data());
    if (multiplier_F.size() > 0) {
      tape.product_NF = tape.hidden_NF;
      for (Index n = 0; n < rows; ++n) tape.hidden_NF.row(n).array() *= multiplier_F.transpose().array();
    }
    detail::linear_forward<S>(tape.hidden_NF, w2_DF, b2_D, y_ND, Serial{});
  }

  void backward(ConstMatrixRef<S> x_ND, ConstMatrixRef<S> dy_ND, Tape& tape, MatrixRef<S> dx_ND, Glu& gradient) const {
    using Chunk = detail::Chunk<S>;
    detail::require_same_shapes("Glu: gradient", *this, gradient);
    const Index rows = tape.gate_NF.rows(), hidden = w1_FD.rows();
    detail::linear_weight_gradient<S>(dy_ND, tape.hidden_NF, gradient.w2_DF, gradient.b2_D, Serial{});
    Buffer<Matrix<S>>&dgate_NF = tape.dgate_NF, &dup_NF = tape.dup_NF;
    dgate_NF.resize(rows, hidden);
    dup_NF.resize(rows, hidden);
    detail::linear_input_gradient<S>(dy_ND, w2_DF, dgate_NF, false, Serial{});  // d hidden, for both factors
    if (multiplier_F.size() > 0) {
      for (Index n = 0; n < rows; ++n) {
        gradient.multiplier_F += dgate_NF.row(n).cwiseProduct(tape.product_NF.row(n)).transpose();
        dgate_NF.row(n).array() *= multiplier_F.transpose().array();
      }
    }
    detail::map_chunks(
        rows * hidden, dup_NF.data(),
        [](const Chunk& dh, const Chunk& gate) -> Chunk { return dh * Activation::template value<S>(gate); },
        dgate_NF.data(), tape.gate_NF.data());
    detail::map_chunks(
        rows * hidden, dgate_NF.data(),
        [](const Chunk& dh, const Chunk& gate, const Chunk& up) -> Chunk {
          return dh * up * Activation::template derivative<S>(gate);
        },
        dgate_NF.data(), tape.gate_NF.data(), tape.up_NF.data());
    detail::linear_weight_gradient<S>(dgate_NF, x_ND, gradient.w1_FD, gradient.b1_F, Serial{});
    detail::linear_weight_gradient<S>(dup_NF, x_ND, gradient.w3_FD, gradient.b3_F, Serial{});
    detail::linear_input_gradient<S>(dgate_NF, w1_FD, dx_ND, false, Serial{});
    detail::linear_input_gradient<S>(dup_NF, w3_FD, dx_ND, true, Serial{});
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("w1", self.w1_FD...);
    f("w3", self.w3_FD...);
    f("w2", self.w2_DF...);
    if ((... || (self.b1_F.size() > 0))) f("b1", self.b1_F...);
    if ((... || (self.b3_F.size() > 0))) f("b3", self.b3_F...);
    if ((... || (self.b2_D.size() > 0))) f("b2", self.b2_D...);
    if ((... || (self.multiplier_F.size() > 0))) f("multiplier", self.multiplier_F...);
  }
};

template <class S>
using SwiGlu = Glu<S, Silu>;
template <class S>
using GeGlu = Glu<S, Gelu>;
template <class S>
using ReGlu = Glu<S, Relu>;

static_assert(TrainableExpert<SwiGlu<float>, float>);

MOE_NAMESPACE_END
