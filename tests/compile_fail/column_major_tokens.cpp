// EXPECT: moe: tokens are rows of a row-major matrix; use moe::Matrix<S>
// Eigen would copy such a matrix without a word.
#include "moe/moe.hpp"

#ifdef MOE_FIXED
using Tokens = moe::Matrix<float>;
#else
using Tokens = Eigen::MatrixXf;
#endif

moe::Matrix<float> run(const moe::Layer<moe::Router<float>, moe::TopK, moe::Mlp<float>>& layer, const Tokens& x_TD) {
  return layer.forward(x_TD);
}
