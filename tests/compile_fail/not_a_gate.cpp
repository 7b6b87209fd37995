// EXPECT: moe::Layer: what is given as gate is not a gate: it needs route(batch, routing, random) const; see
#include "moe/moe.hpp"

struct FirstExpert {
#ifdef MOE_FIXED
  void route(const moe::Batch<float>& batch, moe::Routing<float>& routing, moe::Random*) const {
    for (moe::Index t = 0; t < batch.tokens(); ++t) routing.choices.push_back({t, 0, 1.0f});
  }
#endif
};

std::size_t size() { return sizeof(moe::Layer<moe::Router<float>, FirstExpert, moe::Mlp<float>>); }
