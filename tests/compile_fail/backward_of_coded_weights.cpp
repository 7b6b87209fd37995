// EXPECT: moe::Glu::backward: weights of this storage can only be read: the expert infers and is not trained
#include "moe/moe.hpp"

#ifdef MOE_FIXED
using W = moe::Weights<float>;
#else
using W = moe::Int8Weights;
#endif

using Layer = moe::Layer<moe::Router<float>, moe::TopK, moe::Glu<float, moe::Silu, W>>;

moe::Matrix<float> train(const Layer& layer, const moe::Matrix<float>& x_TD, Layer::Tape& tape, Layer& gradient) {
  return layer.backward(x_TD, layer.forward(x_TD, tape), tape, gradient);
}
