#include "moe/surgery/rearrange_experts.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "moe/surgery/permute_experts.hpp"
#include "moe/surgery/remove_experts.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "surgery/surgery.hpp"

namespace moe {
namespace rearrange_experts_test {

using support::expect_invalid;
using support::same_parameters;

TEST(RearrangeExperts, LayerAndMomentsFollow) {
  auto layer = surgery::layer_with(TopK{});
  AdamW adam{layer};
  ASSERT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
  const auto before = layer;
  auto adam_before = adam;
  permute_experts(layer, {2, 0, 1}, adam);
  const auto expect_permuted = [](const auto& now, const auto& old) {
    EXPECT_TRUE(same_parameters(now.experts[0], old.experts[2]));
    EXPECT_TRUE(same_parameters(now.experts[1], old.experts[0]));
    EXPECT_EQ(now.router.weight_ED.row(0), old.router.weight_ED.row(2));
    EXPECT_EQ(now.router.bias_E(2), old.router.bias_E(1));
  };
  expect_permuted(layer, before);
  auto [mean, square] = adam.moments();
  auto [old_mean, old_square] = adam_before.moments();
  expect_permuted(mean, old_mean);
  expect_permuted(square, old_square);
  EXPECT_GT(global_norm(mean), 0);
}

/// A layer inside a model: the layer's part of each moment is named.
struct Model {
  decltype(surgery::layer_with(TopK{})) moe = surgery::layer_with(TopK{});
  Matrix<double> head = Matrix<double>::Ones(2, surgery::width);

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("moe", f, self.moe...);
    f("head", self.head...);
  }
};

TEST(RearrangeExperts, ALargerModelsOptimiserFollowsByItsParts) {
  Model model;
  AdamW adam{model};
  Sgd sgd{model, {.momentum = 0.9}};
  Model gradient = model;
  auto [mean, square] = adam.moments();
  auto [velocity] = sgd.moments();
  ASSERT_TRUE(adam.step(model, gradient));
  ASSERT_TRUE(sgd.step(model, gradient));
  remove_expert(model.moe, 0, mean.moe, square.moe, velocity.moe, gradient.moe);
  EXPECT_EQ(gradient.moe.experts.size(), 2u);
  EXPECT_TRUE(same_parameters(velocity.moe.experts[0], gradient.moe.experts[0]));
  EXPECT_TRUE(adam.step(model, gradient));
  EXPECT_TRUE(sgd.step(model, gradient));
}

TEST(RearrangeExperts, WhatDoesNotFitIsRefusedAndNothingChanges) {
  auto layer = surgery::layer_with(TopK{.k = 3});
  AdamW adam{layer};
  const auto before = layer;
  expect_invalid([&] { remove_expert(layer, 0, adam); }, {"k is 3", "2"});
  expect_invalid([&] { remove_expert(layer, 3, adam); }, {"expert 3, there are 3"});
  expect_invalid([&] { permute_experts(layer, {0, 1, 1}, adam); }, {"each of the 3 experts once"});
  expect_invalid([&] { permute_experts(layer, {0, 1}, adam); }, {"an order of 2"});
  expect_invalid([&] { rearrange_experts(layer, ExpertSources::all(2), adam); }, {"sources of 2", "has 3"});
  ExpertSources newcomer = ExpertSources::all(3);
  newcomer.parents.push_back({});
  expect_invalid([&] { rearrange_experts(layer, newcomer, adam); }, {"0 newcomers are too few"});
  auto other = layer;
  other.experts.pop_back();
  expect_invalid([&] { permute_experts(layer, {0, 2, 1}, adam, other); }, {"experts are 2"});
  expect_invalid([&] { permute_experts(layer, {0, 2, 1}, adam, layer); }, {"its own follower"});
  EXPECT_TRUE(same_parameters(layer, before));
  EXPECT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
}

TEST(RearrangeExperts, ExpertsThatAreLayersAreMixedAndCopied) {
  const auto inner = surgery::layer_with(TopK{});
  Layer outer{Router<double>::zeros(2, surgery::width), TopK{}, std::vector(2, inner)};
  set_zero(outer.experts[1]);
  rearrange_experts(outer, {2, {{{0, 0.5}, {1, 0.5}}, {{0}}}});
  EXPECT_TRUE(same_parameters(outer.experts[1], inner));
  EXPECT_TRUE(flatten(outer.experts[0]).isApprox(flatten(inner) / 2));
}

TEST(RearrangeExperts, ASingleExpertMayStay) {
  auto layer = surgery::layer_with(TopK{.k = 1, .weights = ChoiceWeights::probabilities()});
  AdamW adam{layer};
  EXPECT_EQ(prune_by_load(layer, Load{.chosen = {1, 7, 0}, .received = {}}, 1, adam), (std::vector<Index>{1}));
  EXPECT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
  EXPECT_EQ(layer.forward(surgery::tokens(0)).rows(), 0);
  expect_invalid([&] { remove_expert(layer, 0, adam); }, {"no expert would be left"});
}

}  // namespace rearrange_experts_test
}  // namespace moe
