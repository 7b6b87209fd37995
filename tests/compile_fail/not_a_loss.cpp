// EXPECT: moe::Layer: what is given as losses is not a loss
#include "moe/moe.hpp"

struct LogitSize {
  double coefficient = 1e-3;

  static constexpr std::string_view name() { return "logit size"; }

  template <class S>
  S value(const moe::Routing<S>& routing) const {
    return routing.logits_TE.squaredNorm() / 2;
  }

#ifdef MOE_FIXED
  template <class S>
  void backward(const moe::Routing<S>& routing, S scale, moe::Routing<S>& drouting) const {
    drouting.logits_TE += scale * routing.logits_TE;
  }
#endif
};

std::size_t size() {
  return sizeof(moe::Layer<moe::Router<float>, moe::TopK, moe::Mlp<float>, moe::Losses<LogitSize>>);
}
