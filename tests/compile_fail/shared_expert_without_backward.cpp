// EXPECT: moe::Shared::backward: the expert cannot be trained: it needs backward(x, dy, tape, dx, gradient) const and
#include "moe/moe.hpp"

struct Doubling {
  struct Tape {};

  void forward(moe::ConstMatrixRef<float> x_ND, moe::MatrixRef<float> y_ND, Tape&) const { y_ND = 2 * x_ND; }

#ifdef MOE_FIXED
  void backward(moe::ConstMatrixRef<float>, moe::ConstMatrixRef<float> dy_ND, Tape&, moe::MatrixRef<float> dx_ND,
                Doubling&) const {
    dx_ND = 2 * dy_ND;
  }
  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
#endif
};

using Layer = moe::Layer<moe::Router<float>, moe::TopK, moe::Mlp<float>>;
using Shared = moe::Shared<Layer, Doubling>;

moe::Matrix<float> train(const Shared& shared, const moe::Matrix<float>& x_TD, Shared::Tape& tape, Shared& gradient) {
  return shared.backward(x_TD, shared.forward(x_TD, tape), tape, gradient);
}
