// EXPECT: moe: tokens are rows of a row-major matrix; use moe::Matrix<S>
// The gradient of the output is at the public edge as much as the tokens are.
#include "moe/moe.hpp"

#ifdef MOE_FIXED
using Gradient = moe::Matrix<float>;
#else
using Gradient = Eigen::MatrixXf;
#endif

using Layer = moe::Layer<moe::Router<float>, moe::TopK, moe::Mlp<float>>;

moe::Matrix<float> train(const Layer& layer, const moe::Matrix<float>& x_TD, const Gradient& dy_TD, Layer::Tape& tape,
                         Layer& gradient) {
  return layer.backward(x_TD, dy_TD, tape, gradient);
}
