#include "moe/surgery/add_experts.hpp"

#include <gtest/gtest.h>

#include <random>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "surgery/surgery.hpp"

namespace moe {
namespace add_experts_test {

using support::expect_invalid;
using support::same_parameters;

TEST(AddExperts, AppendsThemWithTheirRows) {
  auto layer = surgery::layer_with(TopK{});
  AdamW adam{layer};
  ASSERT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
  const auto before = layer;
  std::mt19937_64 rng(1);
  const auto rows = Router<double>::random(2, surgery::width, rng);
  const auto newcomers = surgery::newcomers(2);
  add_experts(layer, rows, newcomers, adam);
  ASSERT_EQ(layer.experts.size(), 5u);
  EXPECT_TRUE(same_parameters(layer.experts[2], before.experts[2]));
  EXPECT_TRUE(same_parameters(layer.experts[4], newcomers[1]));
  EXPECT_EQ(layer.router.weight_ED.topRows(3), before.router.weight_ED);
  EXPECT_EQ(layer.router.weight_ED.bottomRows(2), rows.weight_ED);
  EXPECT_EQ(layer.router.bias_E(4), 0);
  auto [mean, square] = adam.moments();
  EXPECT_EQ(global_norm(mean.experts[4]), 0);
  EXPECT_GT(global_norm(square.experts[0]) + global_norm(square.experts[1]), 0);
  EXPECT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
}

TEST(AddExperts, BiasesAndOtherRouters) {
  auto layer = surgery::layer_with(TopK{});
  auto rows = Router<double>::zeros(1, surgery::width);
  rows.bias_E.setConstant(1, -3);
  add_experts(layer, rows, surgery::newcomers(1));
  EXPECT_EQ(layer.router.bias_E(3), -3);

  std::mt19937_64 rng(1);
  auto cosine = surgery::layer_of(CosineRouter<double>::random(surgery::experts, surgery::width, 2, rng), TopK{});
  const auto direction = CosineRouter<double>::random(1, surgery::width, 2, rng);
  add_experts(cosine, direction, surgery::newcomers(1));
  EXPECT_EQ(cosine.router.expert_EP.row(3), direction.expert_EP.row(0));

  auto unrouted = surgery::layer_of(NoRouter<double>{surgery::experts}, Softmax{});
  add_experts(unrouted, NoRouter<double>{1}, surgery::newcomers(1));
  EXPECT_EQ(unrouted.forward(surgery::tokens()).rows(), 6);
}

TEST(AddExperts, WhatDoesNotFitIsRefusedAndNothingChanges) {
  auto layer = surgery::layer_with(TopK{});
  const auto before = layer;
  const auto one = surgery::newcomers(1);
  expect_invalid([&] { add_experts(layer, Router<double>::zeros(2, surgery::width), one); }, {"1 experts", "scores 2"});
  expect_invalid([&] { add_experts(layer, Router<double>::zeros(1, 9), one); }, {"width 9", "4"});
  std::mt19937_64 rng(1);
  const auto wide = support::random_experts<surgery::X>(1, 9, surgery::hidden, rng);
  expect_invalid([&] { add_experts(layer, Router<double>::zeros(1, surgery::width), wide); }, {"width 4"});
  auto unbiased = layer;
  unbiased.router.bias_E.resize(0);
  auto rows = Router<double>::zeros(1, surgery::width);
  rows.bias_E.setZero(1);
  expect_invalid([&] { add_experts(unbiased, rows, one); }, {"has a bias, the layer's has none"});
  rows.bias_E.setZero(2);
  expect_invalid([&] { add_experts(layer, rows, one); }, {"a bias of 2 entries for 1 experts"});
  EXPECT_TRUE(same_parameters(layer, before));
}

}  // namespace add_experts_test
}  // namespace moe
