#include "moe/surgery/expert_parameters.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "moe/surgery/add_experts.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "surgery/surgery.hpp"

namespace moe {
namespace expert_parameters_test {

using Names = std::vector<std::string>;

TEST(ExpertParameters, NamesTheExpertsAndTheirRows) {
  const auto layer = surgery::layer_with(TopK{});
  EXPECT_EQ(expert_parameters(layer, {2}), (Names{"experts.2", "router.weight.2", "router.bias.2"}));
  EXPECT_EQ(expert_parameters(layer, {0, 1}, "moe."),
            (Names{"moe.experts.0", "moe.router.weight.0", "moe.router.bias.0", "moe.experts.1", "moe.router.weight.1",
                   "moe.router.bias.1"}));
  EXPECT_EQ(expert_parameters(layer, {}), Names{});
  support::expect_invalid([&] { expert_parameters(layer, {3}); }, {"expert 3, there are 3"});
}

TEST(ExpertParameters, OnlyWhatGrowsWithTheExpertsIsTheirs) {
  std::mt19937_64 rng(1);
  // The projection has as many rows as there are experts.
  const auto cosine = surgery::layer_of(CosineRouter<double>::random(3, surgery::width, 3, rng),
                                        support::random_noisy_gate(3, surgery::width, {.k = 2}, rng));
  EXPECT_EQ(expert_parameters(cosine, {0}), (Names{"experts.0", "router.experts.0", "gate.noise_weight.0"}));
  const auto hashed = surgery::layer_of(NoRouter<double>{3}, Hash{{{0, 1, 2}}});
  EXPECT_EQ(expert_parameters(hashed, {1}), (Names{"experts.1"}));
}

TEST(ExpertParameters, AnExpertWithoutAnyHasItsRowsAlone) {
  std::mt19937_64 rng(1);
  using Any = VariantExpert<double, surgery::X, IdentityExpert<double>>;
  Layer layer{Router<double>::zeros(2, surgery::width), TopK{},
              std::vector<Any>{surgery::newcomers(1)[0], IdentityExpert<double>{}}};
  EXPECT_EQ(expert_parameters(layer, {1}), (Names{"router.weight.1"}));
  AdamW adam{layer};
  adam.frozen = Frozen::all_but(expert_parameters(layer, {0, 1}));
  EXPECT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
}

TEST(ExpertParameters, NewcomersAloneAreTrained) {
  auto layer = surgery::layer_with(TopK{});
  AdamW adam{layer, {.weight_decay = 0.1}};
  ASSERT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
  std::mt19937_64 rng(1);
  add_experts(layer, Router<double>::random(1, surgery::width, rng), surgery::newcomers(1), adam);
  adam.frozen = Frozen::all_but(expert_parameters(layer, {3}));
  const auto before = layer;
  for (int step = 0; step < 3; ++step) ASSERT_TRUE(surgery::train_once(layer, adam, surgery::tokens(40)));
  for (std::size_t e = 0; e < 3; ++e) EXPECT_TRUE(support::same_parameters(layer.experts[e], before.experts[e]));
  EXPECT_TRUE(support::same_bits(layer.router.weight_ED.topRows(3), before.router.weight_ED.topRows(3)));
  EXPECT_NE(layer.router.weight_ED.row(3), before.router.weight_ED.row(3));
  EXPECT_NE(flatten(layer.experts[3]), flatten(before.experts[3]));
}

}  // namespace expert_parameters_test
}  // namespace moe
