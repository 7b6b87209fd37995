// EXPECT: moe::VariantExpert: one of its types is not an expert: it needs Tape and forward(x, y, tape) const
#include "moe/moe.hpp"

struct Doubling {
#ifdef MOE_FIXED
  struct Tape {};
#endif
  void forward(moe::ConstMatrixRef<float> x_ND, moe::MatrixRef<float> y_ND, int) const { y_ND = 2 * x_ND; }
#ifdef MOE_FIXED
  void forward(moe::ConstMatrixRef<float> x_ND, moe::MatrixRef<float> y_ND, Tape&) const { y_ND = 2 * x_ND; }
#endif
};

using Any = moe::VariantExpert<float, moe::ZeroExpert<float>, Doubling>;

moe::Index width(const Any& expert) { return expert.output_width(3); }
