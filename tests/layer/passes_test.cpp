// One contract for all layers: the forms of the passes, the tape, the checks, the empty state.
#include "moe/layer/passes.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/team.hpp"
#include "moe/expert/linear.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/shared.hpp"
#include "moe/layer/soft_layer.hpp"
#include "moe/loss/load_balance.hpp"
#include "moe/loss/router_z.hpp"
#include "moe/router/router.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace passes_test {

using support::expect_invalid;
using support::same_bits;

constexpr Index width = 5, tokens = 9;

using Experts = Mlp<double, Gelu>;
using Routed = Layer<Router<double>, TopK, Experts, Losses<LoadBalanceLoss, RouterZLoss>>;
using Soft = SoftLayer<double, Experts>;
using LayerOfSoft = Layer<Router<double>, TopK, Soft>;

static_assert(MixtureLayer<Routed>);
static_assert(MixtureLayer<Soft>);
static_assert(MixtureLayer<Shared<Routed, Experts>>);
static_assert(MixtureLayer<Shared<Soft, Experts, SigmoidMix<double>>>);
static_assert(MixtureLayer<Shared<Shared<Routed, Experts>, Experts, SoftmaxMix<double>>>);
static_assert(MixtureLayer<Layer<Router<double>, TopK, Routed>> && MixtureLayer<LayerOfSoft>);
static_assert(MixtureLayer<SoftLayer<double, Routed>>);
static_assert(!MixtureLayer<Experts> && !MixtureLayer<Router<double>> && !MixtureLayer<int>);

std::vector<Experts> dropping_experts(std::mt19937_64& rng) {
  return make_experts<Experts>(3, width, 6, rng, ExpertOptions{.bias = true, .dropout = 0.4});
}

Routed routed() {
  std::mt19937_64 rng{1};
  return {Router<double>::random(3, width, rng), TopK{.k = 2}, dropping_experts(rng),
          Losses{LoadBalanceLoss{}, RouterZLoss{}}};
}

Soft soft(SoftOptions options = {.normalize = true}) {
  std::mt19937_64 rng{2};
  return Soft::random(2, width, dropping_experts(rng), rng, options);
}

auto mixed_with(auto layer) {
  std::mt19937_64 rng{3};
  return Shared{layer, Experts::random(width, 7, rng, {.dropout = 0.4}), SigmoidMix<double>::random(width, rng)};
}

/// f(a layer, its name) for one of each kind.
template <class F>
void for_each_layer(F&& f) {
  f(routed(), "Layer");
  f(soft(), "SoftLayer");
  f(mixed_with(routed()), "Shared of a Layer");
  f(mixed_with(soft()), "Shared of a SoftLayer");
  f(mixed_with(mixed_with(soft())), "Shared of a Shared");
  std::mt19937_64 rng{4};
  f(LayerOfSoft{Router<double>::random(2, width, rng), TopK{.k = 1, .weights = ChoiceWeights::probabilities()},
                std::vector{soft(), soft()}},
    "Layer of SoftLayers");
}

const Matrix<double> x_TD = support::random_matrix<double>(tokens, width, 5);
const Matrix<double> dy_TD = support::random_matrix<double>(tokens, width, 6);

TEST(LayerPasses, ForwardInAllFormsIsOnePass) {
  for_each_layer([](const auto& layer, const char* name) {
    using SomeLayer = std::remove_cvref_t<decltype(layer)>;
    const Matrix<double> y = layer.forward(x_TD);
    EXPECT_TRUE(same_bits(layer.forward(x_TD, Serial{}), y)) << name;
    EXPECT_TRUE(same_bits(layer.forward(x_TD, Team{.threads = 2}), y)) << name;
    EXPECT_TRUE(same_bits(layer.template forward<Serial>(x_TD), y)) << name;
    typename SomeLayer::Tape tape, serial, into, inner;
    EXPECT_TRUE(same_bits(layer.forward(x_TD, tape), y)) << name;
    EXPECT_TRUE(same_bits(layer.forward(x_TD, serial, Serial{}), y)) << name;
    Matrix<double> y_into(tokens, width);
    layer.forward_into(x_TD, y_into, into, Serial{});
    EXPECT_TRUE(same_bits(y_into, y)) << name;
    y_into.setZero();
    layer.forward(ConstMatrixRef<double>(x_TD), y_into, inner);
    EXPECT_TRUE(same_bits(y_into, y)) << name << ", as an expert";
    EXPECT_EQ(layer.output_width(width), width);
    EXPECT_EQ(layer.width(), width);
  });
}

TEST(LayerPasses, BackwardInAllFormsIsOnePass) {
  for_each_layer([](const auto& layer, const char* name) {
    using SomeLayer = std::remove_cvref_t<decltype(layer)>;
    typename SomeLayer::Tape tape{7};
    layer.forward(x_TD, tape);
    SomeLayer gradient = zeros_like(layer), other = gradient, inner = gradient;
    const Matrix<double> dx = layer.backward(x_TD, dy_TD, tape, gradient);
    Matrix<double> dx_into(tokens, width), dx_inner(tokens, width);
    layer.backward_into(x_TD, dy_TD, tape, dx_into, other, Serial{});
    layer.backward(ConstMatrixRef<double>(x_TD), ConstMatrixRef<double>(dy_TD), tape, dx_inner, inner);
    EXPECT_TRUE(same_bits(dx_into, dx) && same_bits(dx_inner, dx)) << name;
    EXPECT_TRUE(support::same_parameters(other, gradient) && support::same_parameters(inner, gradient)) << name;
    EXPECT_GT(flatten(gradient).norm(), 0) << name;
  });
}

TEST(LayerPasses, ASeedDrawsAndNoSeedDoesNot) {
  for_each_layer([](const auto& layer, const char* name) {
    using Tape = typename std::remove_cvref_t<decltype(layer)>::Tape;
    Tape seven{7}, same{7}, eight{8}, evaluation;
    const Matrix<double> y = layer.forward(x_TD, seven);
    EXPECT_TRUE(same_bits(layer.forward(x_TD, same), y)) << name;
    EXPECT_NE(layer.forward(x_TD, eight), y) << name;
    EXPECT_NE(layer.forward(x_TD, seven), y) << name << ", drawing on";
    seven.random.reset();  // what the experts drew stops with it
    EXPECT_TRUE(same_bits(layer.forward(x_TD, seven), layer.forward(x_TD, evaluation))) << name;
  });
}

TEST(LayerPasses, AnInferencePassHasNoBackwardPass) {
  for_each_layer([](const auto& layer, const char* name) {
    using SomeLayer = std::remove_cvref_t<decltype(layer)>;
    typename SomeLayer::Tape tape;
    tape.keep_activations = false;
    EXPECT_TRUE(same_bits(layer.forward(x_TD, tape), layer.forward(x_TD))) << name;
    SomeLayer gradient = zeros_like(layer);
    Matrix<double> dx = dy_TD;
    expect_invalid([&] { layer.backward_into(x_TD, dy_TD, tape, dx, gradient); }, {"keep_activations was false"});
    EXPECT_EQ(dx, dy_TD) << name;
    EXPECT_TRUE(flatten(gradient).isZero(0)) << name;
  });
}

TEST(LayerPasses, WhatDoesNotFitIsRefusedBeforeAnythingIsWritten) {
  for_each_layer([](const auto& layer, const char* name) {
    using SomeLayer = std::remove_cvref_t<decltype(layer)>;
    typename SomeLayer::Tape tape;
    SomeLayer gradient = zeros_like(layer), copy = layer;
    Matrix<double> y = dy_TD, dx = dy_TD;
    const Matrix<double> wide = Matrix<double>::Ones(tokens, width + 1);
    Matrix<double> x = x_TD;
    expect_invalid([&] { layer.forward(wide); }, {"width 6", "5"});
    expect_invalid([&] { layer.check(width + 1); }, {"6", "5"});
    expect_invalid([&] { layer.forward_into(x_TD, y.topRows(2), tape); }, {"y is 2 x 5", "9 x 5"});
    expect_invalid([&] { layer.forward_into(x, x, tape); }, {"overlaps the tokens"});
    expect_invalid([&] { layer.backward_into(x_TD, dy_TD, tape, dx, gradient); }, {"no forward pass"});
    expect_invalid([&] { layer.auxiliary_loss(tape); }, {"no forward pass"});
    layer.forward(x_TD, tape);
    expect_invalid([&] { layer.backward_into(x_TD, dy_TD.topRows(2), tape, dx, gradient); }, {"dy is 2 x 5"});
    expect_invalid([&] { layer.backward_into(x_TD, dy_TD, tape, dx.topRows(2), gradient); }, {"dx is 2 x 5"});
    expect_invalid([&] { copy.backward_into(x_TD, dy_TD, tape, dx, gradient); }, {"another layer's"});
    expect_invalid([&] { copy.check_tape(tape); }, {"another layer's"});
    EXPECT_NO_THROW(layer.check_tape(tape));
    EXPECT_THROW(layer.backward(x_TD, dy_TD, tape, const_cast<SomeLayer&>(layer)), std::invalid_argument) << name;
    EXPECT_TRUE(y == dy_TD && dx == dy_TD && x == x_TD && flatten(gradient).isZero(0)) << name;
  });
}

/// As a member of a struct of one's own, that is made before its layer is.
template <class SomeLayer>
struct Model {
  SomeLayer layer;
};

TEST(LayerPasses, AnEmptyLayerWaitsToBeFilled) {
  for_each_layer([](const auto& layer, const char* name) {
    using SomeLayer = std::remove_cvref_t<decltype(layer)>;
    Model<SomeLayer> model;
    EXPECT_EQ(parameter_count(model.layer), 0) << name;
    expect_invalid([&] { model.layer.forward(x_TD); }, {"it has no experts", "until another", "is assigned to it"});
    expect_invalid([&] { model.layer.check(); }, {"it has no experts"});
    model.layer = layer;
    EXPECT_TRUE(same_bits(model.layer.forward(x_TD), layer.forward(x_TD))) << name;
  });
}

TEST(LayerPasses, PartsThatDoNotFitMakeNoLayer) {
  std::mt19937_64 rng{1};
  const auto narrow = make_experts<Experts>(3, width - 1, 6, rng);
  expect_invalid(
      [&] {
        Routed(Router<double>::random(3, width, rng), TopK{}, narrow, Losses{LoadBalanceLoss{}, RouterZLoss{}});
      },
      {"width 5"});
  expect_invalid([&] { Soft::random(2, width, narrow, rng); }, {"width 5"});
  expect_invalid([&] { Soft::random(0, width, narrow, rng); }, {"0 slots for each expert"});
  expect_invalid([&] { Shared(routed(), narrow[0]); }, {"width 5"});
  expect_invalid([&] { Shared(soft(), narrow[0]); }, {"width 5"});
}

/// A tape with more than a layer's own, as a layer around it has.
TEST(LayerPasses, ATapeMayDeriveFromTheLayers) {
  std::mt19937_64 rng(5);
  const Matrix<float> x = random_matrix<float>(4, 3, rng);
  const Layer layer{Router<float>::random(2, 3, rng), TopK{.k = 2}, make_experts<Linear<float>>(2, 3, 3, rng)};
  using Tape = decltype(layer)::Tape;
  struct More : Tape {
    int count = 0;
  } tape;
  EXPECT_EQ(layer.forward(x, tape), layer.forward(x));
  EXPECT_EQ(tape.width, 3);
}

}  // namespace passes_test
}  // namespace moe
