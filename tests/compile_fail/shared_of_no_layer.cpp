// EXPECT: moe::Shared: what is given as layer is not a layer: it must be a Layer, SoftLayer or Shared, or offer what
#include "moe/moe.hpp"

#ifdef MOE_FIXED
using Inner = moe::SoftLayer<float, moe::Mlp<float>>;
#else
using Inner = moe::Mlp<float>;
#endif

moe::Matrix<float> run(const moe::Shared<Inner, moe::Mlp<float>>& shared, const moe::Matrix<float>& x_TD) {
  return shared.forward(x_TD);
}
