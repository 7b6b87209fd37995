#include "moe/expert/mix.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "moe/core/parameters.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace mix_test {

using support::expect_invalid;

/// y = a x + b (1 .. 1) under the mix (a, b): an expert, so that the mix' gradients can be checked.
template <class Mix>
struct Mixed {
  Mix mix;
  struct Tape {
    Matrix<double> mix_N2;
  };
  void forward(ConstMatrixRef<double> x, MatrixRef<double> y, Tape& tape) const {
    tape.mix_N2.resize(x.rows(), 2);
    mix.forward(x, tape.mix_N2);
    y = tape.mix_N2.col(0).asDiagonal() * x;
    y.colwise() += tape.mix_N2.col(1);
  }
  void backward(ConstMatrixRef<double> x, ConstMatrixRef<double> dy, Tape& tape, MatrixRef<double> dx,
                Mixed& gradient) const {
    Matrix<double> dmix(x.rows(), 2);
    dmix.col(0) = dy.cwiseProduct(x).rowwise().sum(), dmix.col(1) = dy.rowwise().sum();
    dx = tape.mix_N2.col(0).asDiagonal() * dy;
    mix.backward(x, tape.mix_N2, dmix, dx, gradient.mix);
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    Mix::visit_parameters(f, self.mix...);
  }
};

TEST(Mix, OneLogitWeighsTheSecondByItsSigmoid) {
  const SigmoidMix<double> mix{Matrix<double>{{1, -1}}, Vector<double>{{0.5}}};
  Matrix<double> weights(2, 2);
  mix.forward(Matrix<double>{{2, 1}, {0, 800}}, weights);
  EXPECT_EQ(weights(0, 0), 1);
  EXPECT_NEAR(weights(0, 1), 1 / (1 + std::exp(-1.5)), 1e-15);
  EXPECT_EQ(weights(1, 0), 1);
  EXPECT_NEAR(weights(1, 1), 0, 1e-300);
}

TEST(Mix, TwoLogitsWeighBothByTheirSoftmax) {
  const SoftmaxMix<double> mix{Matrix<double>{{1, 0}, {0, 1}}};
  Matrix<double> weights(2, 2);
  mix.forward(Matrix<double>{{2, 1}, {900, -900}}, weights);
  EXPECT_NEAR(weights(0, 0), std::exp(2) / (std::exp(2) + std::exp(1)), 1e-15);
  EXPECT_NEAR(weights(0, 1), std::exp(1) / (std::exp(2) + std::exp(1)), 1e-15);
  EXPECT_EQ(weights(1, 0), 1);
  EXPECT_EQ(weights(1, 1), 0);
}

TEST(Mix, GradientsAreExact) {
  std::mt19937_64 generator{1};
  const auto x = support::random_matrix<double>(6, 4, 2);
  for (const bool bias : {false, true}) {
    EXPECT_TRUE(testing::check_gradients(Mixed<SigmoidMix<double>>{SigmoidMix<double>::random(4, generator, bias)}, x));
    EXPECT_TRUE(testing::check_gradients(Mixed<SoftmaxMix<double>>{SoftmaxMix<double>::random(4, generator, bias)}, x));
  }
}

TEST(Mix, ABiasOfOneLogitIsShown) {
  std::mt19937_64 generator{1};
  EXPECT_EQ(parameter_count(SigmoidMix<double>::random(1, generator)), 1);
  EXPECT_EQ(parameter_count(SigmoidMix<double>::random(1, generator, true)), 2);
}

TEST(Mix, NoRowsAreNoWork) {
  const SigmoidMix<double> mix{Matrix<double>{{1, -1}}, Vector<double>{{0.5}}};
  SigmoidMix<double> gradient = zeros_like(mix);
  Matrix<double> none(0, 2), weights(0, 2), dweights(0, 2), dx(0, 2);
  mix.forward(none, weights);
  mix.backward(none, weights, dweights, dx, gradient);
  EXPECT_TRUE(gradient.weight_LD.isZero() && gradient.bias_L.isZero());
}

TEST(Mix, ShapesThatDoNotFitAreRefused) {
  std::mt19937_64 generator{1};
  auto mix = SoftmaxMix<float>::random(4, generator);
  expect_invalid([&] { mix.check(3); }, {"weight is 2 x 4", "2 x 3"});
  mix.bias_L.setZero(1);
  expect_invalid([&] { mix.check(4); }, {"a bias of 1 entries for 2"});
  expect_invalid([&] { SigmoidMix<float>::random(0, generator); }, {"width 0"});
}

}  // namespace mix_test
}  // namespace moe
