#include "moe/optim/frozen.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/moe.hpp"
#include "optim/toy.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "support/random_model.hpp"

namespace moe {
namespace frozen_test {

TEST(Frozen, NothingIsFrozenByDefault) { EXPECT_FALSE(Frozen().contains("router.weight")); }

TEST(Frozen, APartFreezesItsParameters) {
  const Frozen frozen{"experts"};
  EXPECT_TRUE(frozen.contains("experts.0.w1"));
  EXPECT_TRUE(frozen.contains("experts"));
  EXPECT_FALSE(frozen.contains("router.weight"));
}

TEST(Frozen, ANameEndsAtADot) {
  const Frozen frozen{"experts.1"};
  EXPECT_TRUE(frozen.contains("experts.1.w1"));
  EXPECT_FALSE(frozen.contains("experts.10.w1"));
  EXPECT_FALSE(frozen.contains("experts"));
}

TEST(Frozen, AStarStandsForAnyCharacters) {
  const Frozen frozen{"*.b1"};
  EXPECT_TRUE(frozen.contains("experts.3.b1"));
  EXPECT_FALSE(frozen.contains("experts.3.w1"));
  EXPECT_FALSE(Frozen::all_but({"*.router"}).contains("moe.router.weight"));
}

TEST(Frozen, SeveralNamesFreezeEach) {
  const Frozen frozen{"router", "experts.2.b1"};
  EXPECT_TRUE(frozen.contains("router.bias"));
  EXPECT_TRUE(frozen.contains("experts.2.b1"));
  EXPECT_FALSE(frozen.contains("experts.2.w1"));
}

TEST(Frozen, ANameThatTheModelDoesNotHaveIsRefused) {
  EXPECT_NO_THROW((Frozen{"weight", "bias"}.check(optim::Toy())));
  support::expect_invalid([] { Frozen{"wieght"}.check(optim::Toy()); }, {"'wieght'"});
}

TEST(Frozen, AllButFreezesTheRest) {
  const Frozen frozen = Frozen::all_but({"experts.1", "router.bias.2"});
  EXPECT_FALSE(frozen.contains("experts.1.w1"));
  EXPECT_TRUE(frozen.contains("experts.0.w1"));
  EXPECT_TRUE(frozen.contains("router.weight"));
  EXPECT_FALSE(frozen.contains("router.bias"));  // not all of it
  EXPECT_TRUE(Frozen::all_but({}).contains("experts"));
}

using Runs = std::vector<std::pair<Index, Index>>;

template <class Parameter>
Runs trained_runs(const Frozen& frozen, const Parameter& parameter) {
  Runs runs;
  frozen.for_each_trained_run("p", parameter, [&](Index begin, Index count) { runs.push_back({begin, count}); });
  return runs;
}

TEST(Frozen, RowsAreRunsOfEntries) {
  const Matrix<double> matrix(4, 3);
  EXPECT_EQ(trained_runs(Frozen(), matrix), (Runs{{0, 12}}));
  EXPECT_EQ(trained_runs(Frozen{"p"}, matrix), Runs{});
  EXPECT_EQ(trained_runs(Frozen{"p.1"}, matrix), (Runs{{0, 3}, {6, 6}}));
  EXPECT_EQ(trained_runs(Frozen{"p.0", "p.3"}, matrix), (Runs{{3, 6}}));
  EXPECT_EQ(trained_runs(Frozen{"p", "p.0"}, matrix), Runs{});
  EXPECT_EQ(trained_runs(Frozen{"p.0", "p.1", "p.2", "p.3"}, matrix), Runs{});
  EXPECT_EQ(trained_runs(Frozen::all_but({"p.1"}), matrix), (Runs{{3, 3}}));
  EXPECT_EQ(trained_runs(Frozen::all_but({"p"}), matrix), (Runs{{0, 12}}));
  EXPECT_EQ(trained_runs(Frozen::all_but({"q"}), matrix), Runs{});
  EXPECT_EQ(trained_runs(Frozen{"p.2"}, Vector<float>(4)), (Runs{{0, 2}, {3, 1}}));
  EXPECT_EQ(trained_runs(Frozen{"p.x", "p.-1", "p.1x"}, matrix), (Runs{{0, 12}}));
}

/// A transformer's block in small: a layer of experts, one that all tokens share, and a head.
struct Block {
  Layer<Router<double>, NoisyTopK<double>, Mlp<double>> moe;
  Mlp<double> shared;
  Matrix<double> head;

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("moe", f, self.moe...);
    visit_part("shared", f, self.shared...);
    f("head", self.head...);
  }
};

Block random_block(std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  return {{support::random_router(3, 4, rng), support::random_noisy_gate(3, 4, {.k = 2}, rng),
           support::random_experts<Mlp<double>>(3, 4, 5, rng)},
          support::random_expert<Mlp<double>>(4, 5, rng),
          support::random_matrix(2, 4, rng)};
}

/// The names of what three steps change: two with everything thawed first, so that no moment is zero.
template <class Optimizer>
std::vector<std::string> changed_by(Optimizer optimizer, Block block, const Frozen& frozen) {
  for (int step = 0; step < 2; ++step) EXPECT_TRUE(optimizer.step(block, random_block(7)));
  const Block before = block;
  const Optimizer optimizer_before = optimizer;
  optimizer.frozen = frozen;
  EXPECT_TRUE(optimizer.step(block, random_block(8)));
  std::vector<std::string> names;
  const auto list = [&](std::string_view name, const auto& now, const auto& old) {
    if (!support::same_bits(now, old)) names.emplace_back(name);
  };
  for_each_parameter(list, block, before);
  std::vector<std::string> changed;
  std::swap(changed, names);
  for_each_parameter(list, optimizer, optimizer_before);
  EXPECT_EQ(names.size() % changed.size(), 0u);  // the moments of the same parameters, and no others
  for (std::size_t i = 0; i < names.size(); ++i)
    EXPECT_EQ(names[i].substr(names[i].find('.') + 1), changed[i % changed.size()]);
  return changed;
}

std::vector<std::string> changed_with(const Frozen& frozen) {
  const Block block = random_block(1);
  auto by_adam = changed_by(AdamW<Block>{block, {.weight_decay = 0.1}}, block, frozen);
  EXPECT_EQ(by_adam, changed_by(Sgd<Block>{block, {.momentum = 0.9, .weight_decay = 0.1}}, block, frozen));
  return by_adam;
}

bool any_of_part(const std::vector<std::string>& names, std::string_view part) {
  return std::any_of(names.begin(), names.end(), [&](const auto& name) { return name.starts_with(part); });
}

TEST(Frozen, WhatIsFrozenKeepsItsBitsInSpiteOfMomentumAndDecay) {
  for (const std::string part : {"moe.router", "moe.gate", "moe.experts", "moe.experts.1", "shared", "head"}) {
    const auto changed = changed_with(Frozen{part});
    EXPECT_FALSE(any_of_part(changed, part)) << part;
    for (const std::string_view other : {"moe.experts.1", "moe.experts.2", "moe.router", "moe.gate", "shared", "head"})
      EXPECT_EQ(any_of_part(changed, other), !other.starts_with(part)) << part << ", " << other;
  }
}

/// ST-MoE's fine-tuning (Zoph et al. 2022, section 4.2): of all parameters but the experts', and of those only.
TEST(Frozen, FineTuningOfTheMoeOnlyAndOfAllButTheMoe) {
  const auto moe_only = changed_with(Frozen::all_but({"moe"}));
  EXPECT_TRUE(any_of_part(moe_only, "moe.router") && any_of_part(moe_only, "moe.experts.0"));
  EXPECT_FALSE(any_of_part(moe_only, "shared") || any_of_part(moe_only, "head"));
  const auto all_but_moe = changed_with(Frozen{"moe"});
  EXPECT_FALSE(any_of_part(all_but_moe, "moe"));
  EXPECT_TRUE(any_of_part(all_but_moe, "shared") && any_of_part(all_but_moe, "head"));
}

TEST(Frozen, RowsOfTheRouterKeepTheirBits) {
  Block block = random_block(1);
  AdamW adam{block, {.weight_decay = 0.1}};
  ASSERT_TRUE(adam.step(block, random_block(7)));
  const Block before = block;
  auto [mean, square] = adam.moments();
  const Block mean_before = mean;
  adam.frozen = {"moe.router.weight.0", "moe.router.bias.0", "moe.gate.noise_weight.2"};
  ASSERT_TRUE(adam.step(block, random_block(8)));
  const auto row_kept = [](const auto& now, const auto& old, Index row) {
    return support::same_bits(now.row(row), old.row(row));
  };
  EXPECT_TRUE(row_kept(block.moe.router.weight_ED, before.moe.router.weight_ED, 0));
  EXPECT_TRUE(row_kept(mean.moe.router.weight_ED, mean_before.moe.router.weight_ED, 0));
  EXPECT_TRUE(row_kept(block.moe.router.bias_E, before.moe.router.bias_E, 0));
  EXPECT_TRUE(row_kept(block.moe.gate.noise_weight_ED, before.moe.gate.noise_weight_ED, 2));
  EXPECT_FALSE(row_kept(block.moe.router.weight_ED, before.moe.router.weight_ED, 1));
  EXPECT_FALSE(row_kept(block.moe.router.bias_E, before.moe.router.bias_E, 2));
  adam.frozen = {};  // thawed
  ASSERT_TRUE(adam.step(block, random_block(9)));
  EXPECT_FALSE(row_kept(block.moe.router.weight_ED, before.moe.router.weight_ED, 0));
}

/// The gradient of what is frozen, a part, a row or all but a row: it neither scales nor refuses the step of the rest.
TEST(Frozen, TheGradientOfWhatIsFrozenIsNotLookedAt) {
  const std::vector<Frozen> cases{{"moe.experts.1"},
                                  {"moe.router.weight"},
                                  {"moe.router.weight.1"},
                                  Frozen::all_but({"head"}),
                                  Frozen::all_but({"moe.router.weight.1"})};
  for (const Frozen& frozen : cases)
    for (const double bad : {1000.0, support::nan_of<double>}) {
      Block gradient = random_block(2), clean = gradient;
      for_each_parameter(
          [&](std::string_view name, auto& entries, auto& zeroed) {
            std::vector<bool> trained(static_cast<std::size_t>(entries.size()), false);
            frozen.for_each_trained_run(name, entries, [&](Index begin, Index count) {
              for (Index i = begin; i < begin + count; ++i) trained[static_cast<std::size_t>(i)] = true;
            });
            for (Index i = 0; i < entries.size(); ++i)
              if (!trained[static_cast<std::size_t>(i)]) entries.data()[i] = bad, zeroed.data()[i] = 0;
          },
          gradient, clean);
      const Block start = random_block(1);
      Block block = start, other = start;
      AdamW adam{start, {.clip_norm = 0.5, .zero_gradient = true}}, plain{start, {.clip_norm = 0.5}};
      adam.frozen = plain.frozen = frozen;
      const double norm = global_norm(gradient, frozen);
      EXPECT_NEAR(norm, global_norm(clean), 1e-12 * norm);
      EXPECT_TRUE(adam.step(block, gradient) && plain.step(other, clean));
      EXPECT_EQ(adam.gradient_norm(), norm);
      EXPECT_TRUE(support::same_parameters(block, other));
      EXPECT_EQ(flatten(gradient).cwiseAbs().maxCoeff(), 0);
    }
}

TEST(Frozen, RowsThatAreNotThereOrNotRunsAreRefused) {
  const Block block = random_block(1);
  EXPECT_NO_THROW((Frozen{"moe.router.weight.2", "moe.experts.0.b1.4"}.check(block)));
  support::expect_invalid([&] { Frozen{"moe.router.weight.3"}.check(block); }, {"'moe.router.weight.3'"});
  support::expect_invalid([&] { Frozen{"moe.experts.0.w1.2"}.check(block); }, {"w1.2", "only be frozen as a whole"});
  support::expect_invalid([&] { Frozen::all_but({"mow"}).check(block); }, {"'mow'"});
}

}  // namespace frozen_test
}  // namespace moe
