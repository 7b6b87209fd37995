// EXPECT: moe: this part keeps matrices and names none of them, so that it would be saved and trained without them
#include "moe/moe.hpp"

#ifndef MOE_FIXED
#define visit_buffers visit_bufers
#endif

struct TableRouter {
  using Scalar = float;
  struct Tape {};

  bool by_id = true;
  moe::Matrix<float> logits_VE;

  moe::Index experts() const { return logits_VE.cols(); }
  moe::Index width() const { return 0; }
  void forward(const moe::Batch<float>& batch, moe::Routing<float>& routing, Tape&, moe::Random*) const {
    for (moe::Index t = 0; t < batch.tokens(); ++t)
      routing.logits_TE.row(t) = logits_VE.row(batch.ids[static_cast<std::size_t>(t)]);
  }

  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    f("logits", self.logits_VE...);
  }
};

using Layer = moe::Layer<TableRouter, moe::TopK, moe::Mlp<float>>;

moe::Index count(const Layer& layer) { return moe::parameter_count(layer); }
