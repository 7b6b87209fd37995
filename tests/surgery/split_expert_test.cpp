#include "moe/surgery/split_expert.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "surgery/surgery.hpp"

namespace moe {
namespace split_expert_test {

using support::expect_invalid;
using support::same_parameters;

TEST(SplitExpert, TheCloneHasAllTheExpertHas) {
  auto layer = surgery::layer_with(TopK{});
  AdamW adam{layer};
  ASSERT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
  const auto before = layer;
  split_expert(layer, 1, {}, adam);
  EXPECT_TRUE(same_parameters(layer.experts[3], before.experts[1]));
  EXPECT_EQ(layer.router.weight_ED.row(3), before.router.weight_ED.row(1));
  for (const Index e : {1, 3}) EXPECT_EQ(layer.router.bias_E(e), before.router.bias_E(1) - std::log(2.0));
  auto [mean, square] = adam.moments();
  EXPECT_TRUE(same_parameters(mean.experts[3], mean.experts[1]));
  EXPECT_EQ(square.router.bias_E(3), square.router.bias_E(1));  // no log 2 in a moment
  EXPECT_GE(square.router.bias_E(3), 0);
}

TEST(SplitExpert, WithoutABiasTheMassCannotBeHalved) {
  auto layer = surgery::layer_with(TopK{});
  layer.router.bias_E.resize(0);
  expect_invalid([&] { split_expert(layer, 0, {}); }, {"has no bias", "halve_mass = false"});
  expect_invalid([&] { split_expert(layer, 3, {}); }, {"expert 3, there are 3"});
  EXPECT_EQ(layer.experts.size(), 3u);
  split_expert(layer, 0, {.halve_mass = false});
  EXPECT_EQ(layer.experts.size(), 4u);
  std::mt19937_64 rng(1);
  auto cosine = surgery::layer_of(CosineRouter<double>::random(surgery::experts, surgery::width, 2, rng), TopK{});
  expect_invalid([&] { split_expert(cosine, 0, {}); }, {"has no bias"});
}

}  // namespace split_expert_test
}  // namespace moe
