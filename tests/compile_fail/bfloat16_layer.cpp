// EXPECT: moe: layers and their parts compute in float or double
#include "moe/moe.hpp"

#ifdef MOE_FIXED
using S = float;
#else
using S = Eigen::bfloat16;
#endif

moe::Matrix<S> run(const moe::Router<S>& router, const std::vector<moe::Mlp<S>>& experts, const moe::Matrix<S>& x_TD) {
  return moe::Layer{router, moe::TopK{}, experts}.forward(x_TD);
}
