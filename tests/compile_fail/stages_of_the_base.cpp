// EXPECT: moe: an expert declares stages of its own, but its StagesOf is the type that it derives from
#include "moe/moe.hpp"

struct Noted : moe::Mlp<float> {
#ifdef MOE_FIXED
  using StagesOf = Noted;
  void backward_stage(int stage, moe::ConstMatrixRef<float> x, moe::ConstMatrixRef<float> dy, Tape& tape,
                      moe::MatrixRef<float> dx, Noted& gradient, moe::Index first, moe::Index count) const {
    Mlp::backward_stage(stage, x, dy, tape, dx, gradient, first, count);
  }
#endif
  void begin_forward(moe::Index rows, Tape& tape) const { Mlp::begin_forward(2 * rows, tape); }
};

moe::Matrix<float> run(const moe::Layer<moe::Router<float>, moe::TopK, Noted>& layer, const moe::Matrix<float>& x_TD) {
  return layer.forward(x_TD);
}
