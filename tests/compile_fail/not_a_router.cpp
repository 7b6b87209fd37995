// EXPECT: moe::Layer: what is given as router is not a router: it needs Scalar, Tape, experts(), width(),
#include "moe/moe.hpp"

struct ConstantRouter {
  using Scalar = float;
  struct Tape {};

  moe::Index experts() const { return 2; }
  moe::Index width() const { return 0; }
#ifdef MOE_FIXED
  void forward(const moe::Batch<float>&, moe::Routing<float>& routing, Tape&, moe::Random*) const {
#else
  void forward(moe::Routing<float>& routing) const {
#endif
      routing.logits_TE.setOnes();
}
}
;

using Layer = moe::Layer<ConstantRouter, moe::TopK, moe::Mlp<float>>;
std::size_t size() { return sizeof(Layer); }
