#include "moe/expert/mlp.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "expert/pass.hpp"
#include "moe/core/parameters.hpp"
#include "support/expect_invalid.hpp"

template struct moe::Mlp<long double>;  // a scalar without packets

namespace moe {
namespace mlp_test {

using support::expect_invalid;

const Mlp<float> example{Matrix<float>{{1, 1}, {1, -1}}, Matrix<float>{{1, 2}, {0, 1}}};
const Matrix<float> x{{1, 2}, {3, 1}}, dy{{1, 0}, {1, 1}};

TEST(Mlp, ReluCutsTheHiddenUnits) {
  // Hidden before relu: 3 -1; 4 2. After: 3 0; 4 2.
  EXPECT_EQ(expert::Pass(example, x, dy).y, (Matrix<float>{{3, 0}, {8, 2}}));
}

TEST(Mlp, BiasesAreAddedOnBothLayers) {
  Mlp<float> expert = example;
  expert.b1_F = Vector<float>{{0, 2}};
  expert.b2_D = Vector<float>{{10, 20}};
  // Hidden: 3 1; 4 4.
  EXPECT_EQ(expert::Pass(expert, x, dy).y, (Matrix<float>{{15, 21}, {22, 24}}));
}

TEST(Mlp, BackwardIsTheChainRule) {
  const expert::Pass pass(example, x, dy);
  // d hidden = dy w2 = 1 2; 1 3; cut by relu: 1 0; 1 3. dx = that times w1.
  EXPECT_EQ(pass.dx, (Matrix<float>{{1, 1}, {4, -2}}));
  EXPECT_EQ(pass.gradient.w1_FD, (Matrix<float>{{4, 3}, {9, 3}}));
  EXPECT_EQ(pass.gradient.w2_DF, (Matrix<float>{{7, 2}, {4, 2}}));
}

TEST(Mlp, TheBiasesGradientsAreSumsOverRows) {
  Mlp<float> expert = example;
  expert.b1_F.setZero(2);
  expert.b2_D.setZero(2);
  const expert::Pass pass(expert, x, dy);
  EXPECT_EQ(pass.gradient.b1_F, (Vector<float>{{2, 3}}));
  EXPECT_EQ(pass.gradient.b2_D, (Vector<float>{{2, 1}}));
}

TEST(Mlp, AnotherActivationIsAType) {
  const Mlp<double, Silu> expert{Matrix<double>{{1}}, Matrix<double>{{2}}};
  const expert::Pass pass(expert, Matrix<double>{{1}}, Matrix<double>{{1}});
  EXPECT_NEAR(pass.y(0, 0), 2 / (1 + std::exp(-1.0)), 1e-15);
}

TEST(Mlp, ATapeIsReusedForAnotherNumberOfRows) {
  expert::Pass pass(example, x, dy);
  Matrix<float> y(1, 2), dx(1, 2);
  Mlp<float> gradient = zeros_like(example);
  example.forward(x.topRows(1), y, pass.tape);
  example.backward(x.topRows(1), dy.topRows(1), pass.tape, dx, gradient);
  EXPECT_EQ(y, (Matrix<float>{{3, 0}}));
  EXPECT_EQ(dx, (Matrix<float>{{1, 1}}));
  EXPECT_EQ(gradient.w1_FD, (Matrix<float>{{1, 2}, {0, 0}}));
}

TEST(Mlp, RandomWeightsFollowTheScaleAndTheirInputs) {
  std::mt19937_64 generator{1};
  const auto random = Mlp<double>::random(40, 100, generator, {.bias = true, .scale = 0.1});
  EXPECT_NEAR(random.w1_FD.squaredNorm() / 4000 * 40, 0.1, 5 * std::sqrt(2.0 / 4000) * 0.1);
  EXPECT_NEAR(random.w2_DF.squaredNorm() / 4000 * 100, 0.1, 5 * std::sqrt(2.0 / 4000) * 0.1);
  EXPECT_EQ(random.b1_F, Vector<double>::Zero(100));
  EXPECT_EQ(random.b2_D, Vector<double>::Zero(40));
}

TEST(Mlp, ShapesThatDoNotFitAreRefused) {
  expect_invalid([] { example.check(3); }, {"w1 is 2 x 2", "width 3"});
  Mlp<float> expert = example;
  expert.w2_DF.resize(2, 5);
  expect_invalid([&] { expert.check(2); }, {"w2 is 2 x 5", "hidden widths differ"});
  expert = example;
  expert.b1_F.setZero(3);
  expect_invalid([&] { expert.check(2); }, {"b1 has 3 entries for 2"});
  expert = example;
  expert.b2_D.setZero(1);
  expect_invalid([&] { expert.check(2); }, {"b2 has 1 entries for 2"});
  std::mt19937_64 generator{1};
  expect_invalid([&] { Mlp<float>::random(4, 0, generator); }, {"width 4 and hidden width 0"});
}

TEST(Mlp, RowsOfOtherShapesAreRefused) { expert::expect_rows_of_other_shapes_are_refused<Mlp<float>>(); }

TEST(Mlp, NoHiddenUnitsLeaveTheBias) {
  auto expert = Mlp<float>{};
  expert.w1_FD.setZero(0, 4);
  expert.w2_DF.setZero(4, 0);

  expert.b2_D = Vector<float>{{1, 2, 3, 4}};
  Matrix<float> y(1, 4);
  Mlp<float>::Tape tape;
  expert.forward(Matrix<float>::Ones(1, 4), y, tape);
  EXPECT_EQ(y, (Matrix<float>{{1, 2, 3, 4}}));
}

TEST(Mlp, OneUnitShowsAllThatItHas) {
  std::mt19937_64 generator{1};
  EXPECT_EQ(parameter_count(Mlp<double>::random(1, 1, generator)), 2);
  EXPECT_EQ(parameter_count(Mlp<double>::random(1, 1, generator, {.bias = true})), 4);
}

TEST(Mlp, AGradientOfOtherShapesIsRefused) {
  expert::Pass pass(example, x, dy);
  Mlp<float> gradient = example;
  gradient.w1_FD.resize(3, 2);
  expect_invalid([&] { example.backward(x, dy, pass.tape, pass.dx, gradient); }, {"'w1' is 2 x 2", "3 x 2"});
}

}  // namespace mlp_test
}  // namespace moe
