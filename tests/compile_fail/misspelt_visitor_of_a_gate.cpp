// EXPECT: moe: this part keeps matrices and names none of them, so that it would be saved and trained without them
// A gate whose fields cannot be looked at.
#include <utility>

#include "moe/moe.hpp"

class BiasedFirst {
 public:
  explicit BiasedFirst(moe::Vector<float> bias) : bias_E_(std::move(bias)) {}

  void route(const moe::Batch<float>& batch, moe::Routing<float>& routing, moe::Random*) const {
    for (moe::Index t = 0; t < batch.tokens(); ++t) routing.choices.push_back({t, 0, bias_E_(0)});
  }
  void backward(const moe::Batch<float>&, const moe::Routing<float>&, moe::Routing<float>&, moe::MatrixRef<float>,
                BiasedFirst&) const {}

  template <class F, class... Self>
#ifdef MOE_FIXED
  static void visit_parameters(F&& f, Self&... self) {
#else
  static void visit_paramaters(F&& f, Self&... self) {
#endif
    f("bias", self.bias_E_...);
  }

 private:
  moe::Vector<float> bias_E_;
};

using Layer = moe::Layer<moe::Router<float>, BiasedFirst, moe::Mlp<float>>;

Layer zeros(const Layer& layer) { return moe::zeros_like(layer); }
