#include "moe/surgery/remove_experts.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "surgery/surgery.hpp"

namespace moe {
namespace remove_experts_test {

using support::expect_invalid;

TEST(MostLoadedExperts, AreInOrderAndEqualsGoByNumber) {
  const Load load{.chosen = {3, 9, 3, 0}, .received = {}};
  EXPECT_EQ(most_loaded_experts(load, 1), (std::vector<Index>{1}));
  EXPECT_EQ(most_loaded_experts(load, 2), (std::vector<Index>{0, 1}));
  expect_invalid([&] { most_loaded_experts(load, 5); }, {"5 of 4 experts"});
  expect_invalid([&] { most_loaded_experts(load, 0); }, {"0 of 4 experts"});
}

TEST(KeepExperts, KeepsTheirOrder) {
  auto layer = surgery::layer_with(TopK{});
  const auto before = layer;
  keep_experts(layer, {2, 0});
  EXPECT_TRUE(support::same_parameters(layer.experts[0], before.experts[2]));
  EXPECT_TRUE(support::same_parameters(layer.experts[1], before.experts[0]));
}

TEST(PruneByLoad, ALoadOfAnotherLayerIsRefused) {
  auto layer = surgery::layer_with(TopK{});
  expect_invalid([&] { prune_by_load(layer, Load{.chosen = {1, 2}, .received = {}}, 1); }, {"2 experts", "has 3"});
}

}  // namespace remove_experts_test
}  // namespace moe
