// EXPECT: moe: this part keeps matrices and names none of them, so that it would be saved and trained without them
#include "moe/moe.hpp"

#ifndef MOE_FIXED
#define visit_parameters visits_parameters
#endif

struct Scaling {
  moe::Vector<float> scale_D;

  struct Tape {};

  void forward(moe::ConstMatrixRef<float> x, moe::MatrixRef<float> y, Tape&) const { y = x * scale_D.asDiagonal(); }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
  }
};

using Any = moe::VariantExpert<float, moe::Mlp<float>, Scaling>;

moe::Index count(const Any& expert) { return moe::parameter_count(expert); }
