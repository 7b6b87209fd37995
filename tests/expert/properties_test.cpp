#include "moe/expert/properties.hpp"

#include <gtest/gtest.h>

#include "moe/expert/linear.hpp"

namespace moe {
namespace properties_test {

struct Doubling {
  struct Tape {};
  void forward(ConstMatrixRef<float> x, MatrixRef<float> y, Tape&) const { y = 2 * x; }
};

struct Widening : Doubling {
  Index output_width(Index width) const { return 2 * width; }
};

struct Costly : Doubling {
  float auxiliary_loss(const Tape&) const { return 1; }
};

TEST(ExpertProperties, AnExpertKeepsTheWidthUnlessItSaysOtherwise) {
  EXPECT_EQ(detail::output_width(Doubling{}, 3), 3);
  EXPECT_EQ(detail::output_width(Widening{}, 3), 6);
  EXPECT_EQ(detail::output_width(Linear<float>{Matrix<float>::Zero(5, 3)}, 3), 5);
}

static_assert(detail::HasAuxiliaryLoss<Costly> && !detail::HasAuxiliaryLoss<Doubling>);

// An expert in float among parts in double is told apart from what is no expert at all.
static_assert(detail::computes_in<Doubling, float, double, double>);
static_assert(!detail::computes_in<Doubling, float, double, float> && !detail::computes_in<int, float, double, double>);

}  // namespace properties_test
}  // namespace moe
