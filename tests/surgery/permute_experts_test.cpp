#include "moe/surgery/permute_experts.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/expect_invalid.hpp"
#include "surgery/surgery.hpp"

namespace moe {
namespace permute_experts_test {

using support::expect_invalid;

TEST(PermuteExperts, ExpertsAndTheirRowsStandInTheNewOrder) {
  const auto before = surgery::layer_with(TopK{.k = 2});
  auto layer = before;
  permute_experts(layer, {2, 0, 1});
  const std::vector<Index> order{2, 0, 1};
  for (Index i = 0; i < 3; ++i) {
    const Index old = order[static_cast<std::size_t>(i)];
    EXPECT_EQ(flatten(layer.experts[static_cast<std::size_t>(i)]),
              flatten(before.experts[static_cast<std::size_t>(old)]));
    EXPECT_EQ(layer.router.weight_ED.row(i), before.router.weight_ED.row(old));
    EXPECT_EQ(layer.router.bias_E(i), before.router.bias_E(old));
  }
}

TEST(PermuteExperts, TheLayerComputesWhatItDid) {
  const auto before = surgery::layer_with(TopK{.k = 2});
  auto layer = before;
  permute_experts(layer, {1, 2, 0});
  const Matrix<double> x = surgery::tokens();
  EXPECT_LT((layer.forward(x) - before.forward(x)).cwiseAbs().maxCoeff(), 1e-14);
}

TEST(PermuteExperts, MomentsFollow) {
  auto layer = surgery::layer_with(TopK{.k = 2});
  AdamW adam{layer, {}};
  ASSERT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
  auto twin = layer;
  auto twin_adam = adam;
  permute_experts(twin, {2, 1, 0}, twin_adam);
  ASSERT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
  ASSERT_TRUE(surgery::train_once(twin, twin_adam, surgery::tokens()));
  permute_experts(twin, {2, 1, 0});
  EXPECT_LT((flatten(twin) - flatten(layer)).cwiseAbs().maxCoeff(), 1e-12);
}

TEST(PermuteExperts, WhatIsNoOrderIsRefusedAndChangesNothing) {
  auto layer = surgery::layer_with(TopK{.k = 2});
  const auto before = flatten(layer);
  for (const std::vector<Index>& order : {std::vector<Index>{0, 1}, std::vector<Index>{0, 1, 1},
                                          std::vector<Index>{0, 1, 3}, std::vector<Index>{0, 1, 2, 3}})
    expect_invalid([&] { permute_experts(layer, order); }, {"permute_experts", "each of the 3 experts once"});
  EXPECT_EQ(flatten(layer), before);
}

}  // namespace permute_experts_test
}  // namespace moe
