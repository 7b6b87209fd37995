// EXPECT: moe: visit_parameters or visit_buffers of this part cannot be called: it must be template <class F
#include "moe/moe.hpp"

struct Scaling {
  moe::Vector<float> scale_D;

  struct Tape {};

  void forward(moe::ConstMatrixRef<float> x, moe::MatrixRef<float> y, Tape&) const { y = x * scale_D.asDiagonal(); }

#ifdef MOE_FIXED
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
  }
#else
  template <class F>
  void visit_parameters(F&& f) {
    f("scale", scale_D);
  }
#endif
};

using Layer = moe::Layer<moe::Router<float>, moe::TopK, Scaling>;

moe::Index count(const Layer& layer) { return moe::parameter_count(layer); }
