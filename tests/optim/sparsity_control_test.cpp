#include "moe/optim/sparsity_control.hpp"

#include <gtest/gtest.h>

#include <random>

#include "gating/route.hpp"
#include "moe/gating/relu_routing.hpp"
#include "moe/moe.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace sparsity_control_test {

// 7 choices of 4 tokens among 4 experts: sparsity 0.5625.
const Matrix<double> z{{.5, -.2, .1, -1}, {-.3, .4, .2, 0}, {1, .3, -.1, -.5}, {-.2, -.4, -.6, .7}};

TEST(SparsityControl, RaisesTheCoefficientWhereTooManyAreChosen) {
  SparsityControl control;
  EXPECT_EQ(control.update(), 1e-8);  // nothing was seen
  control.add(gating::route(ReluRouting{}, z), 1);
  EXPECT_DOUBLE_EQ(control.update(), 1.2e-8);
  control.add(gating::route(ReluRouting{}, z), 2);
  EXPECT_DOUBLE_EQ(control.update(), 1e-8);
  EXPECT_EQ(control.coefficient(), control.update());
}

TEST(SparsityControl, GoesByTheMeanOfLayersAndMicroBatches) {
  SparsityControl control{{.coefficient = 1, .factor = 2}};
  control.add(gating::route(ReluRouting{}, z), 1);  // 0.1875 too few zeros
  control.add(gating::route(ReluRouting{}, z), 3);  // 0.3125 too many
  EXPECT_EQ(control.update(), 0.5);
}

TEST(SparsityControl, HoldsATrainingNearK) {
  std::mt19937_64 rng{1};
  auto layer = Layer{Router<float>::random(8, 6, rng), ReluRouting{}, make_experts<Mlp<float>>(8, 6, 8, rng),
                     Losses{ReluBalanceLoss{.coefficient = 1e-3, .k = 2}}};
  layer.router.bias_E = Vector<float>::Zero(8);
  auto gradient = zeros_like(layer);
  auto& loss = std::get<0>(layer.losses.all);
  AdamW adam{layer, {.learning_rate = 1e-2, .zero_gradient = true}};
  SparsityControl control{{.coefficient = loss.coefficient}};
  decltype(layer)::Tape tape;
  const auto x = support::random_matrix<float>(64, 6, 2), target = support::random_matrix<float>(64, 6, 3);
  double mean = 0;
  for (int step = 0; step < 400; ++step) {
    const Matrix<float> error = layer.forward(x, tape) - target;
    layer.backward(x, error / 64, tape, gradient);
    ASSERT_TRUE(adam.step(layer, gradient));
    control.add(tape.routing, loss.k);
    loss.coefficient = control.update();
    if (step >= 300) mean += static_cast<double>(tape.routing.choices.size()) / 64 / 100;
  }
  EXPECT_NEAR(mean, 2, 0.4);
}

TEST(SparsityControl, SettingsThatMakeNoSenseAreRefused) {
  SparsityControl control;
  support::expect_invalid([&] { control.add(gating::route(ReluRouting{}, z), 5); }, {"k is 5", "4 experts"});
  support::expect_invalid([] { (SparsityControl{{.factor = 1}}); }, {"factor is 1"});
  support::expect_invalid([] { (SparsityControl{{.coefficient = 0}}); }, {"coefficient is 0"});
  support::expect_invalid([] { (SparsityControl{{.coefficient = 1e-40}}); }, {"[1e-30, 1e30]"});
}

}  // namespace sparsity_control_test
}  // namespace moe
