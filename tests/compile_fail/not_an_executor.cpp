// EXPECT: moe: what is passed as executor is none: it needs parallel_for(count, f) const
#include "moe/moe.hpp"

struct Loop {
#ifdef MOE_FIXED
  template <class F>
  void parallel_for(moe::Index count, F&& f) const {
    for (moe::Index i = 0; i < count; ++i) f(i);
  }
#else
  template <class F>
  void for_each(moe::Index count, F&& f) const {
    for (moe::Index i = 0; i < count; ++i) f(i);
  }
#endif
};

using SomeLayer = moe::Layer<moe::Router<float>, moe::TopK, moe::Mlp<float>>;

moe::Matrix<float> run(const SomeLayer& layer, const moe::Matrix<float>& x_TD, SomeLayer::Tape& tape) {
  return layer.forward(x_TD, tape, Loop{});
}
