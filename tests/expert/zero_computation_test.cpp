#include "moe/expert/zero_computation.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "expert/pass.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace zero_computation_test {

using support::expect_invalid;

const Matrix<double> x{{1, 2}, {3, 1}}, dy{{1, 0}, {1, 1}};

TEST(ZeroExpert, DiscardsTheToken) {
  const expert::Pass pass(ZeroExpert<double>{}, x, dy);
  EXPECT_EQ(pass.y, Matrix<double>::Zero(2, 2));
  EXPECT_EQ(pass.dx, Matrix<double>::Zero(2, 2));
  EXPECT_EQ(parameter_count(ZeroExpert<double>{}), 0);
}

TEST(IdentityExpert, CopiesTheToken) {
  const expert::Pass pass(IdentityExpert<double>{}, x, dy);
  EXPECT_EQ(pass.y, x);
  EXPECT_EQ(pass.dx, dy);
  EXPECT_EQ(parameter_count(IdentityExpert<double>{}), 0);
  IdentityExpert<double>::Tape tape;
  IdentityExpert<double> identity;
  Matrix<double> narrow(2, 1);
  expect_invalid([&] { identity.forward(x, narrow, tape); }, {"y is 2 x 1, it must be 2 x 2"});
  expect_invalid([&] { identity.backward(x, dy, tape, narrow, identity); }, {"dx is 2 x 1, it must be 2 x 2"});
}

TEST(ConstantExpert, WithoutAMixTheOutputIsTheValue) {
  const ConstantExpert<double> constant{Vector<double>{{5, 7}}};
  const expert::Pass pass(constant, x, dy);
  EXPECT_EQ(pass.y, (Matrix<double>{{5, 7}, {5, 7}}));
  EXPECT_EQ(pass.dx, Matrix<double>::Zero(2, 2));
  EXPECT_EQ(pass.gradient.value_D, (Vector<double>{{2, 1}}));
  EXPECT_EQ(parameter_count(constant), 2);
}

TEST(ConstantExpert, MixesTheValueWithTheToken) {
  const ConstantExpert<double> constant{Vector<double>{{5, 7}}, {Matrix<double>{{1, 0}, {0, 1}}}};
  const double share = 1 / (1 + std::exp(1.0)), rest = 1 - share;  // of the first token in its mix: exp(1) to exp(2)
  const Matrix<double> y = expert::Pass(constant, x, dy).y;
  EXPECT_NEAR(y(0, 0), share * 1 + rest * 5, 1e-14);
  EXPECT_NEAR(y(0, 1), share * 2 + rest * 7, 1e-14);
}

TEST(ZeroComputationExperts, GradientsAreExact) {
  std::mt19937_64 generator{1};
  const auto rows = support::random_matrix<double>(6, 4, 2);
  EXPECT_TRUE(testing::check_gradients(ZeroExpert<double>{}, rows));
  EXPECT_TRUE(testing::check_gradients(IdentityExpert<double>{}, rows));
  EXPECT_TRUE(testing::check_gradients(ConstantExpert<double>::random(4, generator), rows));
  EXPECT_TRUE(testing::check_gradients(ConstantExpert<double>{Vector<double>{{1, 2, 3, 4}}}, rows));
}

TEST(ConstantExpert, RandomOnesDiffer) {
  std::mt19937_64 generator{1};
  const auto experts = make_experts<ConstantExpert<float>>(2, 4, generator);
  EXPECT_EQ(experts[0].output_width(), 4);
  EXPECT_NE(experts[0].value_D, experts[1].value_D);
  expect_invalid([&] { ConstantExpert<float>::random(0, generator); }, {"width 0"});
}

TEST(ConstantExpert, ShapesThatDoNotFitAreRefused) {
  std::mt19937_64 generator{1};
  auto constant = ConstantExpert<double>::random(2, generator);
  ConstantExpert<double>::Tape tape;
  Matrix<double> y = x, dx = x, narrow(2, 1);
  expect_invalid([&] { constant.check(3); }, {"2 x 2", "2 x 3"});
  expect_invalid([&] { constant.forward(x, narrow, tape); }, {"y is 2 x 1"});
  constant.forward(x, y, tape);
  auto gradient = zeros_like(constant);
  expect_invalid([&] { constant.backward(x, narrow, tape, dx, gradient); }, {"dy is 2 x 1"});
  expect_invalid([&] { constant.backward(x, dy, tape, narrow, gradient); }, {"dx is 2 x 1"});
  ConstantExpert<double>::Tape other;
  expect_invalid([&] { constant.backward(x, dy, other, dx, gradient); }, {"mix of the tape is 0 x 0", "2 x 2"});
  gradient.value_D.resize(5);
  expect_invalid([&] { constant.backward(x, dy, tape, dx, gradient); }, {"'value' is 2 x 1", "5 x 1"});
  constant.value_D.setZero(3);
  expect_invalid([&] { constant.check(2); }, {"value has 3 entries", "width 2"});
}

}  // namespace zero_computation_test
}  // namespace moe
