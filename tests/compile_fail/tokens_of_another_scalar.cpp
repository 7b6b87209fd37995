// EXPECT: moe: the tokens' scalar type is not the layer's; use x.cast<S>(), S the layer's float or double
#include "moe/moe.hpp"

#ifdef MOE_FIXED
using Tokens = moe::Matrix<float>;
#else
using Tokens = moe::Matrix<double>;
#endif

moe::Matrix<float> run(const moe::Layer<moe::Router<float>, moe::TopK, moe::Mlp<float>>& layer, const Tokens& x_TD) {
  return layer.forward(x_TD);
}
