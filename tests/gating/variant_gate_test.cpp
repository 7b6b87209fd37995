#include "moe/gating/variant_gate.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "gating/route.hpp"
#include "moe/expert/linear.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/gating/fixed_noise.hpp"
#include "moe/gating/gumbel_noise.hpp"
#include "moe/gating/noisy_top_k.hpp"
#include "moe/gating/prioritized.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/router/router.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/gradient_options.hpp"

namespace moe {
namespace variant_gate_test {

using AnyGate = VariantGate<double, TopK, NoisyTopK<double>, ScoredTopK>;
using AnyLayer = Layer<Router<double>, AnyGate, Linear<double>>;
constexpr Index experts = 4, width = 3, tokens = 7;

AnyLayer layer_with(AnyGate gate) {
  Random random(5);
  return {Router<double>::random(experts, width, random), std::move(gate),
          make_experts<Linear<double>>(experts, width, width, random)};
}

NoisyTopK<double> noisy() {
  Random random(6);
  NoisyTopK<double> gate = NoisyTopK<double>::zeros(experts, width, {.k = 2});
  gate.noise_weight_ED = random_matrix<double>(experts, width, random);
  return gate;
}

/// Bits of a training pass and its gradients.
template <class L>
std::vector<Matrix<double>> pass(const L& layer) {
  Random random(7);
  const Matrix<double> x_TD = random_matrix<double>(tokens, width, random);
  typename L::Tape tape(8);
  L gradient = zeros_like(layer);
  std::vector<Matrix<double>> results{layer.forward(x_TD, tape)};
  results.push_back(layer.backward(x_TD, x_TD, tape, gradient));
  results.push_back(flatten(gradient));
  return results;
}

TEST(VariantGate, IsTheGateThatItHolds) {
  const auto same = [](const auto& gate) {
    const AnyLayer any = layer_with(gate);
    EXPECT_EQ(pass(any), pass(Layer{any.router, gate, any.experts}));
  };
  same(TopK{.k = 2});
  same(noisy());
  same(ScoredTopK{.k = 2});
}

TEST(VariantGate, GradientsAgreeWithDifferences) {
  Random random(9);
  const Matrix<double> x_TD = random_matrix<double>(tokens, width, random);
  EXPECT_TRUE(testing::check_layer_gradients(layer_with(noisy()), Batch<double>(x_TD), support::gradient_options()));
  EXPECT_TRUE(
      testing::check_layer_gradients(layer_with(TopK{.k = 2}), Batch<double>(x_TD), support::gradient_options()));
}

// Gates around others have no room for the gradients of parameters.
using Free = VariantGate<double, TopK, ScoredTopK>;
static_assert(ParameterFreeGate<Free, double> && !ParameterFreeGate<AnyGate, double> && TrainableGate<AnyGate, double>);
static_assert(TrainableGate<Prioritized<Free>, double> && !TrainableGate<Prioritized<AnyGate>, double>);
static_assert(TrainableGate<FixedNoise<Free>, double> && !TrainableGate<FixedNoise<AnyGate>, double>);
static_assert(TrainableGate<GumbelNoise<Free>, double> && !TrainableGate<GumbelNoise<AnyGate>, double>);
static_assert(TrainableGate<LearnedNoise<double, Free>, double> &&
              !TrainableGate<LearnedNoise<double, AnyGate>, double>);
static_assert(Gate<Prioritized<AnyGate>, double>);

TEST(VariantGate, MayStandInAnotherGate) {
  Random random(9);
  const Matrix<double> x_TD = random_matrix<double>(tokens, width, random);
  const auto router = Router<double>::random(experts, width, random);
  const auto bag = make_experts<Linear<double>>(experts, width, width, random);
  for (const Free& gate : {Free{TopK{.k = 2}}, Free{ScoredTopK{.k = 2}}})
    EXPECT_TRUE(testing::check_layer_gradients(Layer{router, Prioritized<Free>{gate, Priority::weight}, bag},
                                               Batch<double>(x_TD), support::gradient_options()));
}

TEST(VariantGate, NamesParametersAndBuffersAsTheGateAtHandDoes) {
  const auto names = [](const AnyGate& gate) {
    std::string all;
    const auto add = [&](std::string_view name, const auto&...) { all += std::string(name) + ' '; };
    for_each_parameter(add, gate);
    for_each_buffer(add, gate);
    return all;
  };
  ScoredTopK scored{.k = 2};
  scored.selection_bias_E.setZero(experts);
  EXPECT_EQ(names(TopK{.k = 2}), "alternative ");
  EXPECT_EQ(names(noisy()), "noise_weight alternative ");
  EXPECT_EQ(names(scored), "alternative selection_bias ");
}

TEST(VariantGate, RefusesWhatTheGateAtHandRefusesAndGradientsOfAnother) {
  EXPECT_THROW(layer_with(TopK{.k = experts + 1}), std::invalid_argument);
  const AnyLayer layer = layer_with(TopK{.k = 2});
  AnyLayer other = layer_with(noisy());
  const Matrix<double> x_TD = Matrix<double>::Ones(tokens, width);
  AnyLayer::Tape tape(1);
  layer.forward(x_TD, tape);
  EXPECT_THROW(layer.backward(x_TD, x_TD, tape, other), std::invalid_argument);
}

TEST(VariantGate, RefusesAPassOfAnotherGate) {
  AnyLayer layer = layer_with(ScoredTopK{.k = 2});
  const Matrix<double> x_TD = Matrix<double>::Ones(tokens, width);
  AnyLayer::Tape tape(1);
  layer.forward(x_TD, tape);
  for (const AnyGate& other : {AnyGate{TopK{.k = 2}}, AnyGate{noisy()}}) {
    layer.gate = other;
    AnyLayer gradient = zeros_like(layer);
    support::expect_invalid([&] { layer.backward(x_TD, x_TD, tape, gradient); },
                            {"type 2", "now of type " + std::to_string(other.gate.index())});
  }
  layer.gate = ScoredTopK{.k = 3};
  AnyLayer gradient = zeros_like(layer);
  EXPECT_NO_THROW(layer.backward(x_TD, x_TD, tape, gradient));
}

TEST(VariantGate, RefusesAPassOfAnotherGateInside) {
  using Outer = VariantGate<double, Prioritized<Free>, TopK>;
  const Matrix<double> logits_TE{{1, 2, 3}, {3, 2, 1}};
  const auto around = [](auto gate) { return Outer{Prioritized<Free>{gate, Priority::weight}}; };
  const auto routing = gating::route(around(ScoredTopK{.k = 2}), logits_TE);
  EXPECT_NO_THROW(gating::backward(around(ScoredTopK{.k = 2}), routing, {1.0}));
  support::expect_invalid([&] { gating::backward(around(TopK{.k = 2}), routing, {1.0}); }, {"type 1", "type 0"});
  support::expect_invalid([&] { gating::backward(Outer{TopK{.k = 2}}, routing, {1.0}); }, {"type 0", "type 1"});
  support::expect_invalid([&] { gating::backward(Free{TopK{}}, gating::route(TopK{}, logits_TE), {1.0}); },
                          {"another gate"});
}

}  // namespace variant_gate_test
}  // namespace moe
