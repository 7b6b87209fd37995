#include "moe/testing/check_tensor.hpp"

#include <gtest/gtest.h>

namespace moe {
namespace check_tensor_test {

/// Of the function sum(x^3) at three points, with the gradient as given.
testing::GradientReport check(const Vector<double>& gradient) {
  Vector<double> x{{1, -2, 0.5}};
  testing::GradientReport report;
  testing::check_tensor(
      "x", x.data(), gradient.data(), 3, [&] { return x.array().cube().sum(); }, {}, report);
  EXPECT_EQ(x, (Vector<double>{{1, -2, 0.5}}));
  return report;
}

TEST(CheckTensor, ARightGradientPasses) {
  const auto report = check(Vector<double>{{3, 12, 0.75}});
  EXPECT_TRUE(report) << report;
  EXPECT_EQ(report.checked, 3);
  EXPECT_EQ(report.tensors, 1);
}

TEST(CheckTensor, TheWorstEntryIsNamed) {
  const auto report = check(Vector<double>{{3, 12.5, 0.75}});
  EXPECT_FALSE(report);
  EXPECT_EQ(report.where, "x[1]");
  EXPECT_NEAR(report.expected, 12, 1e-6);
  EXPECT_EQ(report.computed, 12.5);
}

}  // namespace check_tensor_test
}  // namespace moe
