#include "moe/layer/layer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
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

TEST(Layer, ALossScaleThatIsNoFiniteNumberIsRefused) {
  const Layer layer{router(), Softmax{}, experts(), Losses{RouterZLoss{.coefficient = 1}}};
  decltype(layer)::Tape tape;
  layer.forward(x_TD, tape);
  const Matrix<double> nothing = Matrix<double>::Zero(3, 2);
  auto gradient = zeros_like(layer);
  for (const double scale : {support::nan_of<double>, std::numeric_limits<double>::infinity()}) {
    tape.loss_scale = scale;
    support::expect_invalid([&] { layer.backward(x_TD, nothing, tape, gradient); },
                            {"Layer::backward: tape.loss_scale is ", "must be finite"});
    EXPECT_TRUE(support::same_parameters(gradient, zeros_like(layer)));
  }
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

// The steps of the passes, each by itself: what stands between them may be anywhere.

/// A pass, and the gradients that its backward pass gives.
template <class SomeLayer>
struct Passes {
  Matrix<double> y_TO, dx_TD;
  SomeLayer gradient;
};

template <class SomeLayer>
Passes<SomeLayer> whole(const SomeLayer& layer, const Batch<double>& batch, const Matrix<double>& dy_TO) {
  typename SomeLayer::Tape tape{5};
  Passes<SomeLayer> passes{layer.forward(batch, tape), {}, zeros_like(layer)};
  passes.dx_TD = layer.backward(batch, dy_TO, tape, passes.gradient);
  return passes;
}

template <class SomeLayer>
Passes<SomeLayer> by_stages(const SomeLayer& layer, const Batch<double>& batch, const Matrix<double>& dy_TO) {
  typename SomeLayer::Tape tape{5};
  Passes<SomeLayer> passes{Matrix<double>(batch.tokens(), dy_TO.cols()),
                           Matrix<double>(batch.tokens(), batch.x_TD.cols()), zeros_like(layer)};
  layer.route(batch, tape);
  layer.run_experts(batch, tape);
  layer.combine(batch, tape, passes.y_TO);
  layer.combine_backward(batch, dy_TO, tape);
  layer.run_experts_backward(batch, tape, passes.gradient);
  layer.route_backward(batch, dy_TO, tape, passes.dx_TD, passes.gradient);
  return passes;
}

/// The middle stages are a loop over experts of one's own; the layer's are not run, and never look at these rows.
template <class SomeLayer>
Passes<SomeLayer> with_experts_elsewhere(const SomeLayer& layer, const Batch<double>& batch,
                                         const Matrix<double>& dy_TO) {
  const auto elsewhere = layer.experts;
  typename SomeLayer::Tape tape{5};
  Passes<SomeLayer> passes{Matrix<double>(batch.tokens(), dy_TO.cols()),
                           Matrix<double>(batch.tokens(), batch.x_TD.cols()), zeros_like(layer)};
  std::vector<typename std::remove_cvref_t<decltype(elsewhere[0])>::Tape> tapes(elsewhere.size());

  layer.route(batch, tape);
  Matrix<double> x_ND;
  dispatch(batch.x_TD, tape.plan, x_ND);
  tape.y_NO.resize(tape.plan.slots(), dy_TO.cols());
  for (std::size_t e = 0; e < elsewhere.size(); ++e) {
    const Index begin = tape.plan.begin_of(static_cast<Index>(e)), rows = tape.plan.rows_of(static_cast<Index>(e));
    elsewhere[e].forward(x_ND.middleRows(begin, rows), tape.y_NO.middleRows(begin, rows), tapes[e]);
  }
  layer.combine(batch, tape, passes.y_TO);

  layer.combine_backward(batch, dy_TO, tape);
  tape.dx_ND.resize(tape.plan.slots(), batch.x_TD.cols());
  for (std::size_t e = 0; e < elsewhere.size(); ++e) {
    const Index begin = tape.plan.begin_of(static_cast<Index>(e)), rows = tape.plan.rows_of(static_cast<Index>(e));
    elsewhere[e].backward(x_ND.middleRows(begin, rows), tape.dy_NO.middleRows(begin, rows), tapes[e],
                          tape.dx_ND.middleRows(begin, rows), passes.gradient.experts[e]);
  }
  layer.route_backward(batch, dy_TO, tape, passes.dx_TD, passes.gradient);
  return passes;
}

template <class SomeLayer>
void expect_same(const Passes<SomeLayer>& a, const Passes<SomeLayer>& b, const std::string& what) {
  EXPECT_TRUE(support::same_bits(a.y_TO, b.y_TO)) << what;
  EXPECT_TRUE(support::same_bits(a.dx_TD, b.dx_TD)) << what;
  EXPECT_TRUE(support::same_parameters(a.gradient, b.gradient)) << what;
}

TEST(Layer, ItsStagesGiveTheBitsOfThePassesWhoeverRunsTheExperts) {
  std::mt19937_64 rng(3);
  const Matrix<double> tokens = random_matrix<double>(11, 3, rng), dy = random_matrix<double>(11, 3, rng);
  Batch<double> padded = tokens;
  padded.valid = {1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1};
  for (int i = 0; i < 5; ++i) {
    DispatchOptions options = Capacity::exactly(3);
    options.pass_dropped = i == 0;
    options.weigh_input = i == 1;
    options.renormalize_kept = i == 2;
    options.straight_through = i == 3;
    const Layer layer{Router<double>::random(3, 3, rng),
                      FixedNoise{TopK{.k = 2, .weights = ChoiceWeights::probabilities()}, 1.0},
                      make_experts<Linear<double>>(3, 3, 3, rng), Losses{RouterZLoss{}, LoadBalanceLoss{}}, options};
    for (const Batch<double>& batch : {Batch<double>(tokens), padded}) {
      const auto expected = whole(layer, batch, dy);
      expect_same(by_stages(layer, batch, dy), expected, "stages, " + std::to_string(i));
      expect_same(with_experts_elsewhere(layer, batch, dy), expected, "experts elsewhere, " + std::to_string(i));
    }
  }
}

TEST(Layer, AStageWithoutTheOneBeforeIsRefused) {
  const Layer layer{router(), Softmax{}, experts()}, copy = layer;
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  Matrix<double> y = x_TD, dx = x_TD;
  support::expect_invalid([&] { layer.run_experts(x_TD, tape); }, {"run_experts", "call its route() before"});
  support::expect_invalid([&] { layer.combine(x_TD, tape, y); }, {"combine", "call its route() before"});
  layer.route(x_TD, tape);
  support::expect_invalid([&] { copy.run_experts(x_TD, tape); }, {"call its route() before"});
  support::expect_invalid([&] { layer.run_experts(x_TD.topRows(2), tape); }, {"call its route() before"});
  support::expect_invalid([&] { layer.combine_backward(x_TD, x_TD, tape); }, {"no forward pass"});
  support::expect_invalid([&] { layer.auxiliary_loss(tape); }, {"no forward pass"});
  tape.y_NO.resize(2, 2);
  support::expect_invalid([&] { layer.combine(x_TD, tape, y); }, {"tape.y_NO is 2 x 2", "6 x 2"});
  tape.y_NO.resize(tape.plan.slots(), 2);
  tape.y_NO.setZero();
  layer.combine(x_TD, tape, y);
  EXPECT_TRUE(y.isZero(0));
  EXPECT_EQ(layer.auxiliary_loss(tape), 0);
  // Others took the place of the layer's experts.
  support::expect_invalid([&] { layer.backward_into(x_TD, x_TD, tape, dx, gradient); }, {"others took the place"});
  layer.combine_backward(x_TD, x_TD, tape);
  support::expect_invalid([&] { layer.run_experts_backward(x_TD, tape, gradient); }, {"others took the place"});
  tape.dx_ND.resize(2, 2);
  support::expect_invalid([&] { layer.route_backward(x_TD, x_TD, tape, dx, gradient); }, {"dx_ND is 2 x 2", "6 x 2"});
  EXPECT_EQ(dx, x_TD);
  EXPECT_TRUE(flatten(gradient).isZero(0));
}

/// What a stage left on the tape is of its own pass: an older one's is never used in its place.
TEST(Layer, AStageOfAnotherPassIsRefused) {
  std::mt19937_64 rng(4);
  const Matrix<double> first = random_matrix<double>(6, 2, rng), second = random_matrix<double>(6, 2, rng);
  Layer layer{router(), Softmax{}, experts()};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  Matrix<double> y = first, dx = first;
  layer.forward_into(first, y, tape);
  layer.backward_into(first, first, tape, dx, gradient);

  const Matrix<double> y_before = y, dx_before = dx;
  layer.route(second, tape);
  support::expect_invalid([&] { layer.combine(second, tape, y); }, {"tape.y_NO is 0 x 0"});
  layer.run_experts(second, tape);
  layer.combine(second, tape, y);
  EXPECT_NE(y, y_before);
  const Vector<double> before = flatten(gradient);
  support::expect_invalid([&] { layer.run_experts_backward(second, tape, gradient); }, {"call combine_backward()"});
  support::expect_invalid([&] { layer.route_backward(second, second, tape, dx, gradient); },
                          {"call combine_backward()"});
  layer.combine_backward(second, second, tape);
  support::expect_invalid([&] { layer.route_backward(second, second, tape, dx, gradient); }, {"dx_ND is 0 x 0"});
  EXPECT_EQ(dx, dx_before);
  EXPECT_EQ(flatten(gradient), before);
  layer.run_experts_backward(second, tape, gradient);
  layer.route_backward(second, second, tape, dx, gradient);
  support::expect_invalid([&] { layer.route_backward(second, second, tape, dx, gradient); },
                          {"call combine_backward()"});
}

TEST(Layer, AStageOfAnotherBatchOrOtherExpertsIsRefused) {
  Layer layer{router(), Softmax{}, experts()};
  layer.experts.reserve(8);
  decltype(layer)::Tape tape;
  Matrix<double> y = x_TD;
  layer.route(x_TD, tape);
  Batch<double> other = x_TD;
  std::vector<std::uint8_t> valid(static_cast<std::size_t>(x_TD.rows()), 1);
  valid[1] = 0;
  other.valid = valid;
  support::expect_invalid([&] { layer.run_experts(other, tape); }, {"token 1 is padding"});
  other = x_TD;
  other.ids = std::vector<std::int64_t>(2);
  support::expect_invalid([&] { layer.run_experts(other, tape); }, {"2"});
  layer.experts.push_back(layer.experts.front());
  support::expect_invalid([&] { layer.run_experts(x_TD, tape); }, {"call its route() before"});
  layer.experts.pop_back();
  layer.experts.pop_back();
  support::expect_invalid([&] { layer.run_experts(x_TD, tape); }, {"call its route() before"});
}

/// Without packets, and with numbers whose bits nobody looks at.
TEST(Layer, ComputesInLongDoubleToo) {
  using S = long double;
  std::mt19937_64 rng(6);
  const Matrix<S> x = random_matrix<S>(7, 3, rng);
  const Layer layer{Router<S>::random(4, 3, rng), TopK{.k = 2}, make_experts<Linear<S>>(4, 3, 3, rng),
                    Losses{LoadBalanceLoss{}}};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  EXPECT_TRUE(layer.forward(x, tape).allFinite());
  EXPECT_TRUE(layer.backward(x, x, tape, gradient).allFinite());
  EXPECT_FALSE(flatten(gradient).isZero(0));
}

}  // namespace layer_test
}  // namespace moe
