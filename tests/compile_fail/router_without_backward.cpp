// EXPECT: moe::Layer::backward: the router cannot be trained: it needs backward(batch, routing, drouting, tape, dx_TD,
#include "moe/moe.hpp"

struct EvenRouter {
  using Scalar = float;
  struct Tape {};

  moe::Index experts() const { return 4; }
  moe::Index width() const { return 0; }
  void forward(const moe::Batch<float>&, moe::Routing<float>& routing, Tape&, moe::Random*) const {
    routing.logits_TE.setZero();
  }

#ifdef MOE_FIXED
  void backward(const moe::Batch<float>&, const moe::Routing<float>&, const moe::Routing<float>&, Tape&,
                moe::MatrixRef<float>, EvenRouter&) const {}
#endif
};

using Layer = moe::Layer<EvenRouter, moe::TopK, moe::Mlp<float>>;

moe::Matrix<float> train(const Layer& layer, const moe::Matrix<float>& x_TD, Layer::Tape& tape, Layer& gradient) {
  return layer.backward(x_TD, layer.forward(x_TD, tape), tape, gradient);
}
