// EXPECT: moe: what is passed as executor is none: it needs parallel_for(count, f) const
#include "moe/moe.hpp"

struct Loop {
  template <class F>
#ifdef MOE_FIXED
  void parallel_for(moe::Index count, F&& f) const {
#else
  void parallel_for(moe::Index count, F&& f) {
#endif
      for (moe::Index i = 0; i < count; ++i) f(i);
}
}
;

using Soft = moe::SoftLayer<float, moe::ZeroExpert<float>>;

moe::Matrix<float> run(const Soft& layer, const moe::Matrix<float>& x_TD, Soft::Tape& tape) {
  return layer.forward(x_TD, tape, Loop{});
}
