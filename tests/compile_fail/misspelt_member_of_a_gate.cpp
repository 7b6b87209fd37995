// EXPECT: moe: a gate misspells one of most_choices, choices_differ, accepts_noise
#include "moe/moe.hpp"

struct FirstExpert {
#ifdef MOE_FIXED
  moe::Index most_choices(moe::Index) const { return 1; }
#else
  moe::Index most_choice(moe::Index) const { return 1; }
#endif
  void route(const moe::Batch<float>& batch, moe::Routing<float>& routing, moe::Random*) const {
    for (moe::Index t = 0; t < batch.tokens(); ++t) routing.choices.push_back({t, 0, 1.0f});
  }
};

moe::Matrix<float> run(const moe::Layer<moe::Router<float>, FirstExpert, moe::Mlp<float>>& layer,
                       const moe::Matrix<float>& x_TD) {
  return layer.forward(x_TD);
}
