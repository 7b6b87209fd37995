// An expert with stages, all of whose members are right: a case misspells one of them by a macro before it includes
// this.
#pragma once

#include "moe/moe.hpp"

struct Doubling {
  struct Tape {};
  using StagesOf = Doubling;
  static constexpr int stages = 1;

  void forward(moe::ConstMatrixRef<float> x, moe::MatrixRef<float> y, Tape&) const { y = 2 * x; }
  void backward(moe::ConstMatrixRef<float>, moe::ConstMatrixRef<float> dy, Tape&, moe::MatrixRef<float> dx,
                Doubling&) const {
    dx = 2 * dy;
  }
  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}

  moe::Index forward_columns(int) const { return 1; }
  moe::Index backward_columns(int) const { return 1; }
  void begin_forward(moe::Index, Tape&) const {}
  void begin_backward(moe::Index, Tape&) const {}
  void forward_stage(int, moe::ConstMatrixRef<float> x, moe::MatrixRef<float> y, Tape&, moe::Index, moe::Index,
                     moe::Index) const {
    y = 2 * x;
  }
  void backward_stage(int, moe::ConstMatrixRef<float>, moe::ConstMatrixRef<float> dy, Tape&, moe::MatrixRef<float> dx,
                      Doubling&, moe::Index, moe::Index) const {
    dx = 2 * dy;
  }
};

inline moe::Matrix<float> run(const moe::Layer<moe::Router<float>, moe::TopK, Doubling>& layer,
                              const moe::Matrix<float>& x_TD) {
  return layer.forward(x_TD);
}
