// EXPECT: moe::Layer::backward: the gate cannot be trained: it, or the gate inside it, needs backward(routing,
#include "moe/moe.hpp"

struct FirstExpert {
  void route(const moe::Batch<float>& batch, moe::Routing<float>& routing, moe::Random*) const {
    for (moe::Index t = 0; t < batch.tokens(); ++t) routing.choices.push_back({t, 0, 1.0f});
  }

#ifdef MOE_FIXED
  void backward(const moe::Routing<float>&, moe::Routing<float>&) const {}
#endif
};

using Layer = moe::Layer<moe::Router<float>, moe::GumbelNoise<FirstExpert>, moe::Mlp<float>>;

moe::Matrix<float> train(const Layer& layer, const moe::Matrix<float>& x_TD, Layer::Tape& tape, Layer& gradient) {
  return layer.backward(x_TD, layer.forward(x_TD, tape), tape, gradient);
}
