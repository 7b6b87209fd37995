#include "moe/layer/run_experts.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "layer/some_experts.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/expert/variant_expert.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/report/cost.hpp"
#include "moe/router/router.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace run_experts_test {

using layer_experts::LayerOf, layer_experts::ManyThreads, layer_experts::Whole, layer_experts::inference;
using support::same_bits;

static_assert(StagedExpert<Mlp<float>, float> && !StagedExpert<Whole<Mlp<float>>, float>);

/// With a forward pass of its own, and the stages of the expert that it derives from.
struct Doubled : Mlp<float> {
  void forward(ConstMatrixRef<float> x, MatrixRef<float> y, Tape& tape) const {
    Mlp<float>::forward(x, y, tape);
    y *= 2;
  }
};
static_assert(Expert<Doubled, float> && !StagedExpert<Doubled, float>);

/// Says itself how many rows go through its stages at once, in an integer of its own.
struct Blocked : Mlp<float> {
  int rows = 0;

  using StagesOf = Blocked;
  int rows_of_block() const { return rows; }
};
static_assert(StagedExpert<Blocked, float>);

/// One pass forward and backward.
template <class X>
struct Pass {
  Matrix<float> y_TD, dx_TD;
  Vector<double> gradient;

  Pass(const Router<float>& router, const std::vector<X>& experts, const Matrix<float>& x_TD) {
    const Layer layer{router, TopK{.k = 2}, experts};
    typename decltype(layer)::Tape tape(1);
    auto gradients = zeros_like(layer);
    y_TD = layer.forward(x_TD, tape);
    dx_TD = layer.backward(x_TD, y_TD, tape, gradients);
    gradient = flatten(gradients);
  }
};

template <class X>
void expect_the_same_by_stages_and_whole(const std::vector<X>& experts, Index width, Index tokens) {
  std::mt19937_64 rng(1);
  const auto router = Router<float>::random(static_cast<Index>(experts.size()), width, rng);
  std::vector<Whole<X>> whole;
  for (const X& expert : experts) whole.push_back({expert});
  const Matrix<float> x_TD = support::random_matrix<float>(tokens, width, 2);
  const Pass a(router, experts, x_TD);
  const Pass b(router, whole, x_TD);
  EXPECT_TRUE(same_bits(a.y_TD, b.y_TD)) << width << ", " << tokens;
  EXPECT_TRUE(same_bits(a.dx_TD, b.dx_TD)) << width << ", " << tokens;
  EXPECT_TRUE(same_bits(a.gradient, b.gradient)) << width << ", " << tokens;
}

/// Hidden units for several tasks, and a rest that fills no panel.
TEST(LayerExperts, StagesGiveTheBitsOfTheWholeExpert) {
  constexpr Index experts = 3, width = 21, hidden = 1100;
  std::mt19937_64 rng(1);
  const auto mlps = make_experts<Mlp<float>>(experts, width, hidden, rng, ExpertOptions{.bias = true});
  const auto glus = make_experts<SwiGlu<float>>(experts, width, hidden, rng, ExpertOptions{.bias = true});
  for (const Index tokens : {0, 1, 5, 40}) {
    expect_the_same_by_stages_and_whole(mlps, width, tokens);
    expect_the_same_by_stages_and_whole(glus, width, tokens);
  }
}

/// Stage 1 has as many columns as the wider of input and output: several tasks, some of them for one side alone.
TEST(LayerExperts, OutputsMayBeWiderOrNarrowerThanInputs) {
  std::mt19937_64 rng(1);
  for (const auto& [width, outputs] : {std::pair<Index, Index>{20, 1100}, {1100, 20}, {517, 530}}) {
    std::vector<SwiGlu<float>> experts;
    for (int e = 0; e < 2; ++e) {
      experts.push_back(SwiGlu<float>::random(width, 40, rng, {.bias = true}));
      experts.back().w2_DF = random_matrix<float>(outputs, 40, rng);
      experts.back().b2_D = random_matrix<float>(outputs, 1, rng);
      experts.back().multiplier_F = random_matrix<float>(40, 1, rng);
    }
    expect_the_same_by_stages_and_whole(experts, width, 20);
  }
}

TEST(LayerExperts, WhatDerivesFromAStagedExpertKeepsItsOwnPass) {
  std::mt19937_64 rng(1);
  const auto router = Router<float>::random(2, 4, rng);
  const auto experts = make_experts<Mlp<float>>(2, 4, 8, rng);
  const Matrix<float> x_TD = support::random_matrix<float>(5, 4, 2);
  const std::vector<Doubled> doubled{{experts[0]}, {experts[1]}};
  EXPECT_EQ(Layer(router, TopK{.k = 2}, doubled).forward(x_TD), 2 * Layer(router, TopK{.k = 2}, experts).forward(x_TD));
}

TEST(LayerExperts, ExpertsMayHaveDifferentHiddenWidths) {
  std::mt19937_64 rng(1);
  std::vector<Mlp<float>> experts;
  for (const Index hidden : {3, 600, 17}) experts.push_back(Mlp<float>::random(8, hidden, rng));
  expect_the_same_by_stages_and_whole(experts, 8, 30);
}

/// The bits of a training step, all of it on the calling thread: rows in blocks, where `Exec` says so.
template <class Exec, class X>
std::vector<Vector<double>> training_step(const std::vector<X>& experts, bool recompute) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(static_cast<Index>(experts.size()), 21, rng), TopK{.k = 2}, experts};
  const Matrix<float> x_TD = support::random_matrix<float>(120, 21, 2);
  typename decltype(layer)::Tape tape(3);
  std::vector<typename X::Tape> shared_tapes;
  if (recompute) tape.recompute_in = &shared_tapes;
  auto gradient = zeros_like(layer);
  const Matrix<float> y_TD = layer.forward(x_TD, tape, Exec{}),
                      dx_TD = layer.backward(x_TD, y_TD, tape, gradient, Exec{});
  return {y_TD.reshaped().template cast<double>(), dx_TD.reshaped().template cast<double>(), flatten(gradient)};
}

template <class X>
void expect_the_same_by_blocks_of_rows(const std::vector<X>& experts) {
  for (const bool recompute : {false, true})
    EXPECT_EQ(training_step<Serial>(experts, recompute), training_step<ManyThreads>(experts, recompute));
  for (const bool draws : {false, true}) {
    typename LayerOf<X>::Tape by_stages, by_rows;
    EXPECT_TRUE(
        same_bits(inference<ManyThreads>(experts, draws, by_stages), inference<Serial>(experts, draws, by_rows)));
  }
}

TEST(LayerExperts, BlocksOfRowsGiveTheBitsOfOneStageAfterTheOther) {
  std::mt19937_64 rng(1);
  const ExpertOptions dropping{.bias = true, .dropout = 0.5};
  const auto mlps = make_experts<Mlp<float>>(3, 21, 1100, rng, dropping);
  const auto glus = make_experts<SwiGlu<float>>(3, 21, 1100, rng, dropping);
  expect_the_same_by_blocks_of_rows(mlps);
  expect_the_same_by_blocks_of_rows(glus);
  using Any = VariantExpert<float, Mlp<float>, SwiGlu<float>, Whole<Mlp<float>>>;
  expect_the_same_by_blocks_of_rows(std::vector<Any>{mlps[0], glus[1], mlps[2]});
  expect_the_same_by_blocks_of_rows(std::vector<Any>{mlps[0], glus[1], Whole<Mlp<float>>{mlps[2]}});
  constexpr int any = std::numeric_limits<int>::max();
  expect_the_same_by_blocks_of_rows(std::vector<Blocked>{{mlps[0], 7}, {mlps[1], any}, {mlps[2], 24}});
  using Derived = VariantExpert<float, Mlp<float>, Doubled>;  // Doubled has the block's rows of what it derives from
  expect_the_same_by_blocks_of_rows(std::vector<Derived>{mlps[0], Doubled{mlps[1]}, mlps[2]});
}

/// The output of an inference pass has the bits of any other; no backward pass follows it, but other passes may.
template <class X>
void expect_inference_like_training(const std::vector<X>& experts, Index width) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(static_cast<Index>(experts.size()), width, rng), TopK{.k = 2}, experts};
  const Matrix<float> x_TD = support::random_matrix<float>(6, width, 2);
  typename decltype(layer)::Tape kept, tape;
  auto gradient = zeros_like(layer), wanted_gradient = gradient;
  const Matrix<float> y_TD = layer.forward(x_TD, kept);
  const Matrix<float> wanted_dx_TD = layer.backward(x_TD, y_TD, kept, wanted_gradient);
  EXPECT_TRUE(same_bits(layer.forward(x_TD), y_TD));
  for (int round = 0; round < 2; ++round) {
    tape.keep_activations = false;
    EXPECT_TRUE(same_bits(layer.forward(x_TD, tape), y_TD));
    EXPECT_EQ(layer.auxiliary_loss(tape), layer.auxiliary_loss(kept));
    tape.keep_activations = true;
    Matrix<float> dx_TD = Matrix<float>::Constant(6, width, 7);
    set_zero(gradient);
    EXPECT_THROW(layer.backward_into(x_TD, y_TD, tape, dx_TD, gradient), std::invalid_argument);
    EXPECT_TRUE((dx_TD.array() == 7).all());
    EXPECT_EQ(flatten(gradient).norm(), 0);
    EXPECT_TRUE(same_bits(layer.forward(x_TD, tape), y_TD));
    EXPECT_TRUE(same_bits(layer.backward(x_TD, y_TD, tape, gradient), wanted_dx_TD));
    EXPECT_EQ(flatten(gradient), flatten(wanted_gradient));
  }
}

// The widest tokens take sums in two parts, which are added up in memory.
TEST(LayerExperts, InferenceGivesTheSameBits) {
  std::mt19937_64 rng(1);
  const ExpertOptions bias{.bias = true};
  for (const Index width : {8, 1600}) {
    const auto mlps = make_experts<Mlp<float>>(3, width, 40, rng, bias);
    expect_inference_like_training(mlps, width);
    expect_inference_like_training(make_experts<Mlp<float, Gelu>>(3, width, 40, rng, bias), width);
    expect_inference_like_training(make_experts<SwiGlu<float>>(3, width, 40, rng, bias), width);
    expect_inference_like_training(std::vector<Whole<Mlp<float>>>{{mlps[0]}, {mlps[1]}, {mlps[2]}}, width);
    using Any = VariantExpert<float, Mlp<float>, SwiGlu<float>, Whole<Mlp<float>>>;
    const std::vector<Any> any{mlps[0], SwiGlu<float>::random(width, 40, rng, bias), Whole<Mlp<float>>{mlps[2]}};
    expect_inference_like_training(any, width);
    using Inner = Layer<Router<float>, TopK, Mlp<float>>;
    const Inner inner{Router<float>::random(3, width, rng), TopK{.k = 2}, mlps};
    expect_inference_like_training(std::vector<Inner>{inner, inner}, width);
  }
}

TEST(LayerExperts, InferenceKeepsTheHiddenUnitsAlone) {
  std::mt19937_64 rng(1);
  const Router<float> router = Router<float>::random(2, 8, rng);
  const Layer mlps{router, TopK{.k = 2}, make_experts<Mlp<float, Gelu>>(2, 8, 20, rng)};
  const Layer glus{router, TopK{.k = 2}, make_experts<SwiGlu<float>>(2, 8, 20, rng)};
  typename decltype(mlps)::Tape of_mlps;
  typename decltype(glus)::Tape of_glus;
  of_mlps.keep_activations = of_glus.keep_activations = false;
  mlps.forward(support::random_matrix<float>(5, 8, 2), of_mlps);
  glus.forward(support::random_matrix<float>(5, 8, 2), of_glus);
  EXPECT_EQ(of_mlps.experts[0].pre_NF.capacity(), 0);
  EXPECT_EQ(of_mlps.experts[0].hidden_NF.capacity(), 100);
  EXPECT_EQ(of_glus.experts[0].gate_NF.capacity() + of_glus.experts[0].up_NF.capacity(), 0);
  EXPECT_EQ(of_glus.experts[0].hidden_NF.capacity(), 100);
}

/// Whether a hidden unit is 0 tells whether it was so before ReLU, dropped or not.
TEST(LayerExperts, ReluKeepsTheHiddenUnitsAlone) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(2, 8, rng), TopK{.k = 2}, make_experts<Mlp<float>>(2, 8, 20, rng)};
  typename decltype(layer)::Tape tape(1);
  layer.forward(support::random_matrix<float>(5, 8, 2), tape);
  EXPECT_EQ(tape.experts[0].pre_NF.capacity(), 0);
  EXPECT_EQ(tape.experts[0].hidden_NF.capacity(), 100);
}

}  // namespace run_experts_test
}  // namespace moe
