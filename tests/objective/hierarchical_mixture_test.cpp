#include "moe/objective/hierarchical_mixture.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "moe/expert/linear.hpp"
#include "moe/gating/softmax.hpp"
#include "moe/layer/layer.hpp"
#include "moe/router/router.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/gradient_options.hpp"
#include "support/matrices.hpp"
#include "support/random_model.hpp"

namespace moe {
namespace hierarchical_mixture_test {

using support::expect_invalid;
using Inner = Layer<Router<double>, Softmax, Linear<double>>;
using Outer = Layer<Router<double>, Softmax, Inner>;

constexpr Index tokens = 5, width = 3, outputs = 2;

Outer tree() {
  std::mt19937_64 rng(1);
  std::vector<Inner> branches;
  for (int i = 0; i < 2; ++i)
    branches.push_back({support::random_router(2, width, rng), Softmax{},
                        support::random_experts<Linear<double>>(2, width, outputs, rng)});
  return {support::random_router(2, width, rng), Softmax{}, branches};
}

struct Example {
  Outer layer = tree();
  Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 2);
  Matrix<double> target_TO = support::random_matrix<double>(tokens, outputs, 3);
  Outer::Tape tape;
  Outer gradient = zeros_like(layer);

  Example() { layer.forward(x_TD, tape); }
};

/// -sum over tokens of log sum over branches of g_i sum over leaves of g_ji exp(-||d - mu_ij||^2 / (2 variance)).
TEST(HierarchicalMixtureLoss, IsTheLikelihoodOfTheTree) {
  const Example example;
  const double variance = 0.7;
  double expected = 0;
  for (Index t = 0; t < tokens; ++t) {
    const Matrix<double> x = example.x_TD.row(t);
    Outer::Tape tape;
    example.layer.forward(x, tape);
    double density = 0;
    for (Index i = 0; i < 2; ++i) {
      const auto& branch = example.layer.experts[static_cast<std::size_t>(i)];
      Inner::Tape inner;
      branch.forward(x, inner);
      for (Index j = 0; j < 2; ++j) {
        const auto& leaf = branch.experts[static_cast<std::size_t>(j)];
        const Vector<double> mean = leaf.weight_OD * x.transpose() + leaf.bias_O;
        density += tape.routing.probabilities_TE(0, i) * inner.routing.probabilities_TE(0, j) *
                   std::exp(-(example.target_TO.row(t).transpose() - mean).squaredNorm() / (2 * variance));
      }
    }
    expected -= std::log(density);
  }
  EXPECT_NEAR(HierarchicalMixtureLoss{.variance = variance}.value(example.tape, example.target_TO), expected, 1e-12);
}

TEST(HierarchicalMixtureLoss, TheResponsibilitiesOfATokenAddUpToOne) {
  const Example example;
  const Vector<double> h = HierarchicalMixtureLoss{}.responsibilities(example.tape, example.target_TO);
  ASSERT_EQ(h.size(), example.tape.plan.slots());
  EXPECT_NEAR(h.sum(), tokens, 1e-12);
}

TEST(HierarchicalMixtureLoss, TheGradientAgreesWithDifferencesAndIsScaled) {
  Example example;
  const HierarchicalMixtureLoss loss{.variance = 0.7};
  const double scale = 3;
  const Matrix<double> dx_TD =
      loss.backward(example.layer, example.x_TD, example.target_TO, example.tape, scale, example.gradient);
  const auto value = [&] {
    Outer::Tape tape;
    example.layer.forward(example.x_TD, tape);
    return scale * loss.value(tape, example.target_TO);
  };
  testing::GradientReport report;
  const auto options = support::gradient_options({});
  testing::check_tensor("x", example.x_TD.data(), dx_TD.data(), dx_TD.size(), value, options, report);
  testing::check_parameters(example.layer, example.gradient, value, options, report);
  EXPECT_TRUE(report) << report;
}

TEST(HierarchicalMixtureLoss, GradientsAreAdded) {
  Example example;
  const HierarchicalMixtureLoss loss;
  loss.backward(example.layer, example.x_TD, example.target_TO, example.tape, 1, example.gradient);
  Outer twice = example.gradient;
  loss.backward(example.layer, example.x_TD, example.target_TO, example.tape, 1, twice);
  EXPECT_TRUE(flatten(twice).isApprox(2 * flatten(example.gradient), 1e-14));
}

TEST(HierarchicalMixtureLoss, WhatDoesNotFitIsRefused) {
  Example example;
  const HierarchicalMixtureLoss loss;
  expect_invalid([&] { (void)loss.value(example.tape, example.target_TO.topRows(2)); }, {"2 targets for 5 tokens"});
  expect_invalid([&] { (void)loss.value(example.tape, example.target_TO.leftCols(1)); }, {"5 x 1", "5 x 2"});
  expect_invalid([&] { (void)HierarchicalMixtureLoss{.variance = -1}.value(example.tape, example.target_TO); },
                 {"variance is -1"});
}

}  // namespace hierarchical_mixture_test
}  // namespace moe
