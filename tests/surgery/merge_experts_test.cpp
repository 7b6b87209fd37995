#include "moe/surgery/merge_experts.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "surgery/surgery.hpp"

namespace moe {
namespace merge_experts_test {

using support::expect_invalid;
using support::same_parameters;

TEST(MergeExperts, IsAMeanInTheFirstOnesPlace) {
  auto layer = surgery::layer_with(TopK{});
  AdamW adam{layer};
  const auto before = layer;
  merge_experts(layer, 2, 0, {.share = 0.25, .add_mass = false}, adam);
  ASSERT_EQ(layer.experts.size(), 2u);
  EXPECT_TRUE(same_parameters(layer.experts[0], before.experts[1]));
  EXPECT_TRUE(
      flatten(layer.experts[1]).isApprox(0.25 * flatten(before.experts[2]) + 0.75 * flatten(before.experts[0]), 1e-15));
  EXPECT_NEAR(layer.router.bias_E(1), 0.25 * before.router.bias_E(2) + 0.75 * before.router.bias_E(0), 1e-15);
  EXPECT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
}

TEST(MergeExperts, TheMassesAddUp) {
  auto layer = surgery::layer_with(TopK{});
  layer.router.bias_E << 1, 0, std::log(3.0);
  merge_experts(layer, 2, 1, {});
  EXPECT_NEAR(layer.router.bias_E(1), std::log(4.0), 1e-15);
  EXPECT_EQ(layer.router.bias_E(0), 1);
}

TEST(MergeExperts, WhatIsNotAPairIsRefused) {
  auto layer = surgery::layer_with(TopK{});
  expect_invalid([&] { merge_experts(layer, 1, 1, {}); }, {"experts 1 and 1 of 3"});
  expect_invalid([&] { merge_experts(layer, 1, 3, {}); }, {"experts 1 and 3 of 3"});
  expect_invalid([&] { merge_experts(layer, 1, 2, {.share = 1.5}); }, {"share is 1.5"});
}

}  // namespace merge_experts_test
}  // namespace moe
