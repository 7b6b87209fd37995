// EXPECT: moe::quantized: no part of this has weights in a storage that could be replaced
#include "moe/moe.hpp"

#ifdef MOE_FIXED
using X = moe::SwiGlu<float>;
#else
using X = moe::IdentityExpert<float>;
#endif

auto convert(const moe::Layer<moe::Router<float>, moe::TopK, X>& layer) {
  return moe::quantized<moe::Int8Weights>(layer);
}
