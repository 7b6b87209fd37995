// EXPECT: moe: a number is no Capacity: write Capacity::factor(1.25) for 1.25 times an expert's even share
#include "moe/moe.hpp"

#ifdef MOE_FIXED
const auto capacity = moe::Capacity::factor(1.25);
#else
const auto capacity = 1.25;
#endif

void make(const moe::Router<float>& router, const std::vector<moe::Mlp<float>>& experts) {
  moe::Layer layer{router, moe::TopK{}, experts, capacity};
}
