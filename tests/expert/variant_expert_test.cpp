#include "moe/expert/variant_expert.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "expert/pass.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/linear.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/expert/zero_computation.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/shared.hpp"
#include "moe/loss/router_z.hpp"
#include "moe/optim/adamw.hpp"
#include "moe/router/router.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/gradient_options.hpp"
#include "support/matrices.hpp"
#include "support/one_thread.hpp"

namespace moe {
namespace variant_expert_test {

using support::expect_invalid;
using support::same_bits;

constexpr Index width = 5;

/// Of a user's own: plain, without stages, checks or widths. y = x .* scale.
template <class S>
struct Scaling {
  Vector<S> scale_D;
  struct Tape {
    std::optional<Random> random;
    bool was_seeded = false;
  };
  void forward(ConstMatrixRef<S> x, MatrixRef<S> y, Tape& tape) const {
    tape.was_seeded = tape.random.has_value();
    y = x * scale_D.asDiagonal();
  }
  void backward(ConstMatrixRef<S> x, ConstMatrixRef<S> dy, Tape&, MatrixRef<S> dx, Scaling& gradient) const {
    dx = dy * scale_D.asDiagonal();
    gradient.scale_D += x.cwiseProduct(dy).colwise().sum().transpose();
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("scale", self.scale_D...);
  }
};

template <class S>
using Inner = Layer<Router<S>, TopK, Mlp<S>, Losses<RouterZLoss>>;

template <class S>
using Any = VariantExpert<S, Mlp<S>, SwiGlu<S>, Linear<S>, ZeroExpert<S>, IdentityExpert<S>, ConstantExpert<S>,
                          Scaling<S>, Inner<S>>;

static_assert(TrainableExpert<Any<float>, float> && StagedExpert<Any<float>, float>);
static_assert(Any<float>::stages == 2 && VariantExpert<float, ZeroExpert<float>>::stages == 1);

template <class S>
Inner<S> inner_layer(std::mt19937_64& rng) {
  std::vector<Mlp<S>> experts{Mlp<S>::random(width, 3, rng), Mlp<S>::random(width, 8, rng)};
  return {Router<S>::random(2, width, rng), TopK{.k = 1, .weights = ChoiceWeights::probabilities()}, std::move(experts),
          Losses{RouterZLoss{.coefficient = 0.1}}};
}

/// One of each, and two widths of one.
template <class S>
std::vector<Any<S>> mixed_bag() {
  std::mt19937_64 rng{1};
  return {Mlp<S>::random(width, 7, rng, {.bias = true}),
          Mlp<S>::random(width, 600, rng),
          SwiGlu<S>::random(width, 4, rng),
          Linear<S>::random(width, width, rng),
          ZeroExpert<S>{},
          IdentityExpert<S>{},
          ConstantExpert<S>::random(width, rng),
          Scaling<S>{Vector<S>{{1, -2, 3, 1, 0}}},
          inner_layer<S>(rng)};
}

template <class S>
auto mixed_layer(Index k = 3) {
  std::mt19937_64 rng{2};
  auto experts = mixed_bag<S>();
  auto router = Router<S>::random(static_cast<Index>(experts.size()), width, rng);
  return Layer{std::move(router), TopK{.k = k}, std::move(experts), Losses{RouterZLoss{.coefficient = 1e-3}}};
}

TEST(VariantExpert, EachHasTheBitsOfTheExpertItself) {
  const auto x = support::random_matrix<float>(6, width, 3), dy = support::random_matrix<float>(6, width, 4);
  for (const auto& any : mixed_bag<float>()) {
    const expert::Pass pass(any, x, dy);
    any.visit([&](const auto& own, auto) {
      const expert::Pass alone(own, x, dy);
      EXPECT_TRUE(same_bits(pass.y, alone.y)) << any.expert.index();
      EXPECT_TRUE(same_bits(pass.dx, alone.dx)) << any.expert.index();
      EXPECT_TRUE(same_bits(flatten(pass.gradient), flatten(alone.gradient))) << any.expert.index();
    });
  }
}

TEST(VariantExpert, ALayerRunsThemByStagesWithTheSameBits) {
  const auto layer = mixed_layer<float>(9);  // every expert sees every token
  const auto x = support::random_matrix<float>(40, width, 3), dy = support::random_matrix<float>(40, width, 4);
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  layer.forward(x, tape);
  layer.backward(x, dy, tape, gradient);
  for (std::size_t e = 0; e < layer.experts.size(); ++e) {
    const auto at = static_cast<Index>(e);
    const Matrix<float> own_x = tape.x_ND.middleRows(tape.plan.begin_of(at), tape.plan.rows_of(at));
    const Matrix<float> own_dy = tape.dy_NO.middleRows(tape.plan.begin_of(at), tape.plan.rows_of(at));
    ASSERT_EQ(own_x.rows(), 40);
    if (layer.experts[e].expert.index() == 7) continue;  // with losses of its own
    const expert::Pass pass(layer.experts[e], own_x, own_dy);
    const Matrix<float> y = tape.y_NO.middleRows(tape.plan.begin_of(at), 40);
    const Matrix<float> dx = tape.dx_ND.middleRows(tape.plan.begin_of(at), 40);
    EXPECT_TRUE(same_bits(pass.y, y)) << e;
    EXPECT_TRUE(same_bits(pass.dx, dx)) << e;
    EXPECT_TRUE(support::same_parameters(pass.gradient, gradient.experts[e])) << e;
  }
}

TEST(VariantExpert, GradientsAreExact) {
  const auto x = support::random_matrix<double>(6, width, 3);
  for (const auto& any : mixed_bag<double>())
    if (any.expert.index() != 7) {
      EXPECT_TRUE(testing::check_gradients(any, x, support::gradient_options({.entries = 30})));
    }
  EXPECT_TRUE(testing::check_layer_gradients(mixed_layer<double>(), support::random_matrix<double>(12, width, 3),
                                             support::gradient_options({.entries = 30})));
}

TEST(VariantExpert, LossesOfExpertsThatAreLayersCount) {
  const auto layer = mixed_layer<double>(9);
  decltype(layer)::Tape tape;
  layer.forward(support::random_matrix<double>(12, width, 3), tape);
  const auto* const inner = std::get_if<7>(&layer.experts[8].expert);
  const auto& inner_tape = std::get<7>(tape.experts[8].tapes);
  ASSERT_TRUE(inner && tape.experts[8].at_hand == 7);
  EXPECT_GT(inner->auxiliary_loss(inner_tape), 0);
  EXPECT_EQ(layer.auxiliary_loss(tape), layer.losses.value(tape.routing) + inner->auxiliary_loss(inner_tape));
}

TEST(VariantExpert, SeedsReachTheExpertsThatDraw) {
  const auto layer = mixed_layer<float>(9);
  const auto x = support::random_matrix<float>(3, width, 3);
  decltype(layer)::Tape training{1}, evaluation;
  layer.forward(x, training);
  layer.forward(x, evaluation);
  EXPECT_TRUE(std::get<6>(training.experts[7].tapes).was_seeded);
  EXPECT_FALSE(std::get<6>(evaluation.experts[7].tapes).was_seeded);
}

TEST(VariantExpert, AMixedBagLearns) {
  std::mt19937_64 rng{5};
  auto layer = mixed_layer<float>();
  const auto x = support::random_matrix<float>(128, width, 6);
  const Matrix<float> target = (x.array() * x.array().sin()).matrix();
  auto gradient = zeros_like(layer);
  AdamW adam{layer, {.learning_rate = 1e-2}};
  decltype(layer)::Tape tape{1};
  float first = 0, last = 0;
  for (int step = 0; step < 60; ++step) {
    const Matrix<float> dy = layer.forward(x, tape) - target;
    last = dy.squaredNorm();
    if (step == 0) first = last;
    set_zero(gradient);
    layer.backward(x, dy, tape, gradient);
    ASSERT_TRUE(adam.step(layer, gradient));
  }
  EXPECT_LT(last, first / 4);
}

TEST(VariantExpert, ParametersHaveTheNamesOfTheExpertAtHand) {
  std::vector<std::string> names;
  const auto layer = mixed_layer<float>();
  for_each_parameter([&](std::string_view name, const auto&) { names.emplace_back(name); }, layer);
  const std::vector<std::string> expected{
      "router.weight",          "experts.0.w1",           "experts.0.w2",           "experts.0.b1",
      "experts.0.b2",           "experts.1.w1",           "experts.1.w2",           "experts.2.w1",
      "experts.2.w3",           "experts.2.w2",           "experts.3.weight",       "experts.3.bias",
      "experts.6.value",        "experts.6.mix.weight",   "experts.7.scale",        "experts.8.router.weight",
      "experts.8.experts.0.w1", "experts.8.experts.0.w2", "experts.8.experts.1.w1", "experts.8.experts.1.w2"};
  EXPECT_EQ(names, expected);
}

TEST(VariantExpert, ATapeMayServeAnotherExpertNext) {
  const auto bag = mixed_bag<float>();
  const auto x = support::random_matrix<float>(4, width, 3), dy = support::random_matrix<float>(4, width, 4);
  Any<float>::Tape tape;
  Matrix<float> y(4, width), dx(4, width);
  for (const std::size_t e : {0u, 2u, 0u, 5u}) {
    auto gradient = zeros_like(bag[e]);
    bag[e].forward(x, y, tape);
    bag[e].backward(x, dy, tape, dx, gradient);
    EXPECT_TRUE(same_bits(y, expert::Pass(bag[e], x, dy).y)) << e;
  }
}

TEST(VariantExpert, WhatDoesNotMatchIsRefused) {
  const auto bag = mixed_bag<float>();
  const auto x = support::random_matrix<float>(4, width, 3);
  Any<float>::Tape tape;
  Matrix<float> y(4, width), dx(4, width);
  expect_invalid([&] { bag[0].check(4); }, {"w1 is 7 x 5", "width 4"});
  auto gradient = zeros_like(bag[2]);
  expect_invalid([&] { bag[2].backward(x, y, tape, dx, gradient); }, {"the tape holds no forward pass"});
  bag[0].forward(x, y, tape);
  expect_invalid([&] { bag[0].backward(x, y, tape, dx, gradient); }, {"expert types 0 and 1"});
  expect_invalid([&] { bag[2].backward(x, y, tape, dx, gradient); }, {"tape is of expert type 0", "of type 1"});
  bag[2].forward(x, y, tape);
  bag[0].forward(x, y, tape);  // what bag[2] left in its room is not taken for its last pass
  expect_invalid([&] { bag[2].backward(x, y, tape, dx, gradient); }, {"tape is of expert type 0", "of type 1"});
  auto other_shape = zeros_like(bag[1]);
  expect_invalid([&] { bag[0].backward(x, y, tape, dx, other_shape); }, {"'w1' is 7 x 5", "600 x 5"});
  auto layer = mixed_layer<float>();
  auto layer_gradient = zeros_like(layer);
  std::swap(layer_gradient.experts[0], layer_gradient.experts[4]);
  decltype(layer)::Tape layer_tape;
  layer.forward(x, layer_tape);
  expect_invalid([&] { layer.backward(x, y, layer_tape, layer_gradient); }, {"expert types 0 and 3"});
  layer.experts[3] = Linear<float>{Matrix<float>::Zero(2, width)};
  expect_invalid([&] { layer.forward(x); }, {"outputs have 5 and 2 columns"});
}

}  // namespace variant_expert_test
}  // namespace moe
