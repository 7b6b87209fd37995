// EXPECT: moe::Layer: what is given as expert is not an expert: it needs Tape and forward(x, y, tape) const; see
#include "moe/moe.hpp"

struct Doubling {
  struct Tape {};

#ifdef MOE_FIXED
  void forward(moe::ConstMatrixRef<float> x_ND, moe::MatrixRef<float> y_ND, Tape&) const { y_ND = 2 * x_ND; }
#else
  moe::Matrix<float> forward(moe::ConstMatrixRef<float> x_ND) const { return 2 * x_ND; }
#endif
};

std::size_t size() { return sizeof(moe::Layer<moe::Router<float>, moe::TopK, Doubling>); }
