// EXPECT: moe: check of a gate must be check(experts) const
#include "moe/moe.hpp"

struct FirstExpert {
  moe::Index first = 0;

#ifdef MOE_FIXED
  void check(moe::Index experts) const { moe::require(first < experts, "FirstExpert: ", first); }
#else
  void check(moe::Index experts) { moe::require(first < experts, "FirstExpert: ", first); }
#endif
  void route(const moe::Batch<float>& batch, moe::Routing<float>& routing, moe::Random*) const {
    for (moe::Index t = 0; t < batch.tokens(); ++t) routing.choices.push_back({t, first, 1.0f});
  }
};

moe::Matrix<float> run(const moe::Layer<moe::Router<float>, FirstExpert, moe::Mlp<float>>& layer,
                       const moe::Matrix<float>& x_TD) {
  return layer.forward(x_TD);
}
