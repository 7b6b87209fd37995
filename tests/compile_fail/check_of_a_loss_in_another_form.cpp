// EXPECT: moe: check of a loss must be check(experts) const or check(experts, gate) const
#include "moe/moe.hpp"

struct ZLoss : moe::RouterZLoss {
#ifdef MOE_FIXED
  void check(moe::Index experts) const {
#else
  void check(const std::string& experts) const {
#endif
      static_cast<void>(experts);
}
}
;

using Layer = moe::Layer<moe::Router<float>, moe::TopK, moe::Mlp<float>, moe::Losses<ZLoss>>;

moe::Matrix<float> run(const Layer& layer, const moe::Matrix<float>& x_TD) { return layer.forward(x_TD); }
