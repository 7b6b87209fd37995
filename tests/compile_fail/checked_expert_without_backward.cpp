// EXPECT: moe::testing::check_gradients: the expert cannot be trained: it needs Tape, forward(x, y, tape) const,
#include "moe/testing/check_gradients.hpp"

struct Doubling {
  struct Tape {};

  void forward(moe::ConstMatrixRef<double> x_ND, moe::MatrixRef<double> y_ND, Tape&) const { y_ND = 2 * x_ND; }

#ifdef MOE_FIXED
  void backward(moe::ConstMatrixRef<double>, moe::ConstMatrixRef<double> dy_ND, Tape&, moe::MatrixRef<double> dx_ND,
                Doubling&) const {
    dx_ND = 2 * dy_ND;
  }
  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
#endif
};

bool check(const moe::Matrix<double>& x_ND) {
  return static_cast<bool>(moe::testing::check_gradients(Doubling{}, x_ND));
}
