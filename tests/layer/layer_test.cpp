#include "moe/layer/layer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/expert/linear.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/variant_expert.hpp"
#include "moe/gating/fixed_noise.hpp"
#include "moe/gating/hash.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/softmax.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/shared.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/router_z.hpp"
#include "moe/router/no_router.hpp"
#include "moe/router/router.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace layer_test {

const TopK top1{.k = 1, .weights = ChoiceWeights::uniform()};
const Matrix<double> x_TD{{1, 0}, {0, 1}, {2, 1}};

/// Expert 0 for tokens whose first entry is larger, expert 1 for the others.
Router<double> router() { return {.weight_ED = Matrix<double>{{1, 0}, {0, 1}}}; }

/// Times 10, and times -1.
std::vector<Linear<double>> experts() {
  return {{Matrix<double>{{10, 0}, {0, 10}}}, {Matrix<double>{{-1, 0}, {0, -1}}}};
}

TEST(Layer, EveryTokenIsMappedByItsExpert) {
  const Layer layer{router(), top1, experts()};
  EXPECT_EQ(layer.forward(x_TD), (Matrix<double>{{10, 0}, {0, -1}, {20, 10}}));
}

TEST(Layer, TheOutputsOfSeveralExpertsAreBlended) {
  const Layer layer{router(), TopK{.k = 2, .weights = ChoiceWeights::uniform()}, experts()};
  EXPECT_EQ(layer.forward(x_TD), Matrix<double>(4.5 * x_TD));
}

TEST(Layer, AllExpertsWithTheirProbabilitiesAreTheDenseMixture) {
  const Layer layer{router(), Softmax{}, experts()};
  const double p = 1 / (1 + std::exp(-1.0));  // of the first expert, for logits (1, 0)
  EXPECT_NEAR(layer.forward(x_TD)(0, 0), 10 * p - (1 - p), 1e-14);
}

TEST(Layer, ASingleExpertIsThatExpertToTheLastBit) {
  std::mt19937_64 generator{1};
  const auto expert = Linear<double>::random(2, 2, generator);
  const Layer layer{Router<double>::random(1, 2, generator), TopK{.k = 1}, std::vector{expert}};
  Matrix<double> alone(3, 2);
  Linear<double>::Tape tape;
  expert.forward(x_TD, alone, tape);
  EXPECT_TRUE(support::same_bits(layer.forward(x_TD), alone));
}

TEST(Layer, ExpertsMayChangeTheWidth) {
  const Layer layer{router(), top1, std::vector<Linear<double>>{{Matrix<double>{{1, 1}}}, {Matrix<double>{{1, -1}}}}};
  EXPECT_EQ(layer.output_width(2), 1);
  EXPECT_EQ(layer.forward(x_TD), (Matrix<double>{{1}, {-1}, {3}}));
}

TEST(Layer, ADroppedTokenHasAZeroRow) {
  const Layer layer{router(), top1, experts(), Capacity::exactly(1)};
  EXPECT_EQ(layer.forward(x_TD), (Matrix<double>{{10, 0}, {0, -1}, {0, 0}}));
}

TEST(Layer, InferenceMayHaveACapacityOfItsOwn) {
  const Layer layer{router(), top1, experts(), Capacity::exactly(1).at_inference(Capacity::unlimited())};
  decltype(layer)::Tape training{1};
  EXPECT_EQ(layer.forward(x_TD, training).row(2), (Matrix<double>{{0, 0}}));
  EXPECT_EQ(layer.forward(x_TD).row(2), (Matrix<double>{{20, 10}}));
}

TEST(Layer, BackwardSendsTheGradientThroughTheChosenExpert) {
  const Layer layer{router(), top1, experts()};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  layer.forward(x_TD, tape);
  const Matrix<double> dy_TO{{1, 1}, {1, 1}, {1, 1}};
  EXPECT_EQ(layer.backward(x_TD, dy_TO, tape, gradient), (Matrix<double>{{10, 10}, {-1, -1}, {10, 10}}));
  EXPECT_EQ(gradient.experts[0].weight_OD, (Matrix<double>{{3, 1}, {3, 1}}));
  EXPECT_EQ(gradient.experts[1].weight_OD, (Matrix<double>{{0, 1}, {0, 1}}));
  EXPECT_EQ(gradient.router.weight_ED, Matrix<double>::Zero(2, 2));
}

TEST(Layer, BackwardAddsToTheGradient) {
  const Layer layer{router(), Softmax{}, experts(), Losses{RouterZLoss{}}};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  const Matrix<double> dy_TO = layer.forward(x_TD, tape);
  layer.backward(x_TD, dy_TO, tape, gradient);
  const Vector<double> once = flatten(gradient);
  layer.backward(x_TD, dy_TO, tape, gradient);
  EXPECT_TRUE(flatten(gradient).isApprox(2 * once, 1e-14));
}

TEST(Layer, SlotGradientsOfTheOutputsGiveTheSame) {
  const Layer layer{router(), Softmax{}, experts()};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer), from_slots = zeros_like(layer);
  const Matrix<double> dy_TO = layer.forward(x_TD, tape);
  const Matrix<double> dx_TD = layer.backward(x_TD, dy_TO, tape, gradient);
  const Matrix<double> dy_NO = tape.dy_NO;
  const Vector<double> dweight_N = tape.dweight_N;
  Matrix<double> dx_from_slots(3, 2);
  layer.backward_from_slots(x_TD, dy_NO, dweight_N, tape, dx_from_slots, from_slots);
  EXPECT_TRUE(support::same_bits(dx_from_slots, dx_TD));
  EXPECT_TRUE(support::same_parameters(from_slots, gradient));
}

TEST(Layer, TheAuxiliaryLossIsTheScaledSum) {
  const Layer layer{router(), TopK{.k = 1, .weights = ChoiceWeights::probabilities()}, experts(),
                    Losses{LoadBalanceLoss{.coefficient = 2}}};
  decltype(layer)::Tape tape;
  layer.forward(x_TD, tape);
  EXPECT_EQ(layer.auxiliary_loss(tape), 2 * LoadBalanceLoss{}.value(tape.routing));
}

TEST(Layer, TheLossScaleScalesTheLossesGradientAlone) {
  const Layer layer{router(), Softmax{}, experts(), Losses{RouterZLoss{.coefficient = 1}}};
  decltype(layer)::Tape tape;
  layer.forward(x_TD, tape);
  const Matrix<double> nothing = Matrix<double>::Zero(3, 2);
  auto full = zeros_like(layer), half = zeros_like(layer);
  layer.backward(x_TD, nothing, tape, full);
  tape.loss_scale = 0.5;
  layer.backward(x_TD, nothing, tape, half);
  EXPECT_GT(full.router.weight_ED.norm(), 0);
  EXPECT_TRUE(half.router.weight_ED.isApprox(full.router.weight_ED / 2, 1e-14));
}

TEST(Layer, ParametersAreNamedByPart) {
  Layer layer{router(), top1, experts()};
  std::vector<std::string> names;
  for_each_parameter([&](std::string_view name, auto&) { names.emplace_back(name); }, layer);
  EXPECT_EQ(names, (std::vector<std::string>{"router.weight", "experts.0.weight", "experts.1.weight"}));
}

TEST(Layer, ALayerIsAnExpertOfALayer) {
  const Layer inner{router(), top1, experts()};
  auto tripled = experts();
  for (auto& expert : tripled) expert.weight_OD *= 3;
  const Layer outer{Router<double>{.weight_ED = Matrix<double>{{1, 1}, {-1, -1}}}, top1,
                    std::vector{inner, Layer{router(), top1, tripled}}};
  // All tokens go to the first inner layer; their negatives to the second.
  EXPECT_EQ(outer.forward(x_TD), inner.forward(x_TD));
  EXPECT_EQ(outer.forward(Matrix<double>(-x_TD)), Matrix<double>(3 * inner.forward(Matrix<double>(-x_TD))));
}

TEST(Layer, TheAuxiliaryLossesOfInnerLayersCountIfTheyGotTokens) {
  const Layer inner{router(), Softmax{}, experts(), Losses{RouterZLoss{.coefficient = 1}}};
  const Layer outer{Router<double>{.weight_ED = Matrix<double>{{1, 1}, {-1, -1}}}, top1, std::vector{inner, inner}};
  decltype(inner)::Tape inner_tape;
  decltype(outer)::Tape outer_tape;
  inner.forward(x_TD, inner_tape);
  outer.forward(x_TD, outer_tape);
  EXPECT_EQ(outer.auxiliary_loss(outer_tape), inner.auxiliary_loss(inner_tape));
}

TEST(Layer, ACopyIsIndependent) {
  const Layer original{router(), top1, experts()};
  Layer copy = original;
  set_zero(copy);
  EXPECT_EQ(original.forward(x_TD), (Matrix<double>{{10, 0}, {0, -1}, {20, 10}}));
  copy = original;
  EXPECT_EQ(copy.forward(x_TD), original.forward(x_TD));
}

// The tape is tied to the layer of its last forward pass.

TEST(Layer, ATapeOfAnotherLayerIsRefusedACopyToo) {
  const Layer layer{router(), Softmax{}, experts()}, copy = layer, equal{router(), Softmax{}, experts()};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  layer.forward(x_TD, tape);
  for (const auto* other : {&copy, &equal})
    support::expect_invalid([&] { other->backward(x_TD, x_TD, tape, gradient); }, {"another layer's"});
  layer.backward(x_TD, x_TD, tape, gradient);
  copy.forward(x_TD, tape);
  support::expect_invalid([&] { layer.backward(x_TD, x_TD, tape, gradient); }, {"another layer's"});
}

TEST(Layer, LayersMayUseATapeOneAfterTheOther) {
  const Layer first{router(), Softmax{}, experts()}, second = first;
  decltype(first)::Tape tape, own;
  auto gradient = zeros_like(first), expected = gradient;
  for (const auto* layer : {&first, &second, &first}) {
    layer->forward(x_TD, tape);
    layer->backward(x_TD, x_TD, tape, gradient);
    layer->forward(x_TD, own);
    layer->backward(x_TD, x_TD, own, expected);
  }
  EXPECT_TRUE(support::same_parameters(gradient, expected));
}

TEST(Layer, ALayerMayMoveBetweenItsPasses) {
  Layer layer{router(), Softmax{}, experts()};
  const auto expected_gradient = [&] {
    decltype(layer)::Tape tape;
    auto gradient = zeros_like(layer);
    layer.forward(x_TD, tape);
    layer.backward(x_TD, x_TD, tape, gradient);
    return gradient;
  }();
  std::vector<decltype(layer)> layers{layer};
  decltype(layer)::Tape tape;
  layers[0].forward(x_TD, tape);
  for (int more = 0; more < 9; ++more) layers.push_back(layer);  // the first one moves
  const auto moved_tape = std::move(tape);
  auto of_copy = moved_tape;
  auto gradient = zeros_like(layer);
  layers[0].backward(x_TD, x_TD, of_copy, gradient);
  EXPECT_TRUE(support::same_parameters(gradient, expected_gradient));
}

TEST(Layer, ABackwardPassWithOtherGroupsOrPaddingIsRefused) {
  const Layer layer{router(), Softmax{}, experts()};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  layer.forward(x_TD, tape);
  Batch<double> batch = x_TD;
  batch.group_size = 1;
  support::expect_invalid([&] { layer.backward(batch, x_TD, tape, gradient); }, {"group_size is 1", "was 0"});
  batch.group_size = 0;
  batch.valid = {1, 1, 0};
  support::expect_invalid([&] { layer.backward(batch, x_TD, tape, gradient); }, {"token 2 is padding"});
  layer.forward(batch, tape);
  support::expect_invalid([&] { layer.backward(x_TD, x_TD, tape, gradient); }, {"token 2 is no padding"});
}

/// A layer inside a layer sees its tokens' ids, and calls them what the outermost batch calls them.
TEST(Layer, InnerLayersKnowTheTokens) {
  const auto inner = [](Index shift) {
    return Layer{NoRouter<double>{2}, Hash{{{shift, 1 - shift, shift}}}, experts()};
  };
  using Inner = decltype(inner(0));
  using Any = VariantExpert<double, Inner, Linear<double>>;
  const Layer plain{router(), Softmax{}, std::vector{inner(0), inner(1)}};
  const Layer nested{router(), Softmax{}, std::vector{Shared{plain, experts()[0]}, Shared{plain, experts()[0]}}};
  const Layer variant{router(), Softmax{}, std::vector<Any>{inner(0), experts()[0]}};
  Batch<double> batch = x_TD;
  batch.ids = {0, 1, 2};
  const auto expect_known = [&](const auto& layer) {
    EXPECT_NO_THROW(layer.forward(batch));
    Batch<double> wrong = batch;
    wrong.ids = {0, 1, 9};
    support::expect_invalid([&] { layer.forward(wrong); }, {"token 2 has id 9"});
    support::expect_invalid([&] { layer.forward(x_TD); }, {"the batch has no ids"});
  };
  expect_known(plain);
  expect_known(nested);
  expect_known(variant);
  // Each id goes to one expert of the first branch and to the other one of the second.
  const double p = 1 / (1 + std::exp(-1.0));
  const Matrix<double> y = plain.forward(batch);
  EXPECT_NEAR(y(0, 0), 10 * p - (1 - p), 1e-14);
  EXPECT_NEAR(y(1, 1), 10 * p - (1 - p), 1e-14);
}

TEST(Layer, ARefusedTokenOfAnInnerLayerIsNamedByTheOuterOne) {
  DispatchOptions refuse;
  refuse.non_finite = NonFinite::refuse;
  const auto nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  // The outer router sees the first entry alone: tokens 0 and 2 go to the second branch.
  const auto outer = [&](double bias) {
    Router<double> inner = router();
    inner.bias_E = Vector<double>{{-infinity, bias}};
    const Layer branch{inner, Softmax{}, experts(), refuse};
    return Layer{Router<double>{.weight_ED = Matrix<double>{{-1, 0}, {1, 0}}}, top1, std::vector{branch, branch}};
  };
  const Matrix<double> x{{-1, 0}, {-1, 0}, {2, 0}};
  support::expect_invalid([&] { outer(nan).forward(x.bottomRows(1)); }, {"token 0", "not finite"});
  support::expect_invalid([&] { outer(-infinity).forward(x.bottomRows(1)); }, {"token 0", "every expert is masked"});
  const Layer branch{router(), Softmax{}, experts(), refuse};
  Layer some = outer(0);
  some.experts = {branch, branch};
  some.experts[1].router.bias_E = Vector<double>{{nan, nan}};
  support::expect_invalid([&] { some.forward(x); }, {"token 2", "not finite"});
}

TEST(Layer, ShowsTheBuffersOfItsParts) {
  ScoredTopK gate{.k = 1, .scores = Scores::sigmoid({.normalize = false})};
  gate.selection_bias_E = Vector<double>{{1, 2}};
  const Layer inner{router(), FixedNoise<ScoredTopK>{gate, 0.1}, experts()};
  const Layer outer{router(), gate, std::vector{inner, inner}};
  std::vector<std::string> names;
  for_each_buffer(
      [&](std::string_view name, const auto& buffer) {
        names.emplace_back(name);
        EXPECT_EQ(buffer, gate.selection_bias_E);
      },
      outer);
  EXPECT_EQ(names, (std::vector<std::string>{"gate.selection_bias", "experts.0.gate.gate.selection_bias",
                                             "experts.1.gate.gate.selection_bias"}));
}

TEST(Layer, GradientsAreExactHoweverChoicesAreDispatched) {
  std::mt19937_64 rng(3);
  const Matrix<double> tokens = random_matrix<double>(7, 3, rng);
  for (int i = 0; i < 3; ++i) {
    DispatchOptions options = Capacity::exactly(3);
    options.pass_dropped = i == 0;
    options.weigh_input = i == 1;
    options.renormalize_kept = i == 2;
    const Layer layer{Router<double>::random(3, 3, rng), TopK{.k = 2, .weights = ChoiceWeights::probabilities()},
                      make_experts<Linear<double>>(3, 3, 3, rng), options};
    EXPECT_TRUE(testing::check_layer_gradients(layer, tokens)) << i;
  }
}

}  // namespace layer_test
}  // namespace moe
