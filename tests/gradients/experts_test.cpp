// Every activation in every expert that has one, with all that they may have: the backward pass against differences.
#include <gtest/gtest.h>

#include <random>

#include "moe/expert/activations.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/gradient_options.hpp"

namespace experts_test {

using namespace moe;

template <class X>
void expect_exact() {
  std::mt19937_64 rng{7};
  const Matrix<double> x = random_matrix<double>(6, 5, rng);
  for (const bool all : {false, true}) {
    auto expert = X::random(5, 19, rng, {.bias = all, .scale = 2, .multiplier = all, .dropout = all ? 0.3 : 0.0});
    if (all) moe::testing::fill(expert, 0.1);  // biases that are not 0
    EXPECT_TRUE(moe::testing::check_gradients(expert, x, support::gradient_options({.tape_seed = 5})));
  }
}

template <class Activation>
class ActivationGradients : public ::testing::Test {};
using Activations = ::testing::Types<Relu, SquaredRelu, Gelu, GeluTanh, Silu, Sigmoid, Tanh, Identity>;
TYPED_TEST_SUITE(ActivationGradients, Activations);

TYPED_TEST(ActivationGradients, OfMlp) { expect_exact<Mlp<double, TypeParam>>(); }

TYPED_TEST(ActivationGradients, OfGlu) { expect_exact<Glu<double, TypeParam>>(); }

}  // namespace experts_test
