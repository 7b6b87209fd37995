#include "moe/optim/parameter_groups.hpp"

#include <gtest/gtest.h>

#include <random>

#include "moe/moe.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "support/random_model.hpp"

namespace moe {
namespace parameter_groups_test {

using support::expect_invalid;
using SomeLayer = Layer<Router<double>, TopK, Mlp<double>>;

SomeLayer random_layer(std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  return {support::random_router(3, 4, rng), TopK{.k = 2}, support::random_experts<Mlp<double>>(3, 4, 5, rng)};
}

GroupFactors factors_of(const ParameterGroups& groups, std::string_view wanted) {
  const SomeLayer layer = random_layer(1);
  GroupFactors factors;
  detail::for_each_view(
      [&](std::string_view name, const detail::ParameterView* parameter) {
        if (name == wanted) factors = groups.factors_of(name, *parameter);
      },
      layer);
  return factors;
}

TEST(ParameterGroups, FactorsOfAllGroupsOfAParameterAreMultiplied) {
  const ParameterGroups groups{{all_vectors, {.weight_decay = 0}},
                               {"router", {.learning_rate = 0.5, .weight_decay = 3}},
                               {"router.weight", {.learning_rate = 0.25}},
                               {"*.w1", {.weight_decay = 2}}};
  EXPECT_EQ(factors_of(groups, "router.weight").learning_rate, 0.125);
  EXPECT_EQ(factors_of(groups, "router.weight").weight_decay, 3);
  EXPECT_EQ(factors_of(groups, "router.bias").learning_rate, 0.5);
  EXPECT_EQ(factors_of(groups, "router.bias").weight_decay, 0);
  EXPECT_EQ(factors_of(groups, "experts.2.w1").weight_decay, 2);
  EXPECT_EQ(factors_of(groups, "experts.2.b1").weight_decay, 0);
  EXPECT_EQ(factors_of(groups, "experts.2.w2").weight_decay, 1);
  EXPECT_EQ(factors_of(groups, "experts.2.w2").learning_rate, 1);
}

TEST(ParameterGroups, WhatDoesNotFitIsRefused) {
  const SomeLayer layer = random_layer(1);
  EXPECT_NO_THROW(ParameterGroups().check(layer));
  EXPECT_NO_THROW((ParameterGroups{{"*.b1", {}}, {"experts.1", {.learning_rate = 0}}}.check(layer)));
  expect_invalid([&] { ParameterGroups{{"*.b3", {}}}.check(layer); }, {"'*.b3'"});
  expect_invalid(
      [&] {
        ParameterGroups{{"router", {.learning_rate = -1}}}.check(layer);
      },
      {"learning_rate of router is -1"});
  expect_invalid(
      [&] {
        ParameterGroups{{all_vectors, {.weight_decay = support::infinity_of<double>}}}.check(layer);
      },
      {"weight_decay of all_vectors is inf"});
  expect_invalid(
      [&] {
        ParameterGroups{{"router", {.learning_rate = 1e4}}, {"*", {.learning_rate = 1e4}}}.check(layer);
      },
      {"the factors of 'router.", "1e+08"});
}

/// Each parameter moves as by an optimiser whose own options are multiplied.
template <template <class> class Optimiser, class Options>
void expect_own_options_by_group(Options options) {
  const SomeLayer start = random_layer(1), gradient = random_layer(2);
  const auto stepped = [&](Options one, const ParameterGroups& groups) {
    Optimiser<SomeLayer> optimiser{start, one};
    optimiser.groups = groups;
    SomeLayer layer = start;
    for (int step = 0; step < 3; ++step) EXPECT_TRUE(optimiser.step(layer, gradient));
    return layer;
  };
  Options slow = options, plain = options;
  slow.learning_rate *= 0.5;
  plain.weight_decay = 0;
  const SomeLayer mixed = stepped(options, {{"*.b1", {.weight_decay = 0}}, {"router", {.learning_rate = 0.5}}});
  EXPECT_TRUE(support::same_parameters(mixed.router, stepped(slow, {}).router));
  EXPECT_EQ(mixed.experts[1].b1_F, stepped(plain, {}).experts[1].b1_F);
  EXPECT_EQ(mixed.experts[1].w1_FD, stepped(options, {}).experts[1].w1_FD);
  EXPECT_NE(mixed.experts[1].b1_F, stepped(options, {}).experts[1].b1_F);
}

TEST(ParameterGroups, HaveOptionsOfTheirOwn) {
  expect_own_options_by_group<AdamW>(AdamWOptions{.learning_rate = 0.25, .weight_decay = 0.5});
  expect_own_options_by_group<Sgd>(SgdOptions{.learning_rate = 0.25, .momentum = 0.5, .weight_decay = 0.5});
}

TEST(ParameterGroups, ANameThatTheModelDoesNotHaveIsRefusedByTheStep) {
  SomeLayer layer = random_layer(1);
  const SomeLayer before = layer, gradient = random_layer(2);
  AdamW adam{layer};
  adam.groups = {{"rooter", {}}};
  expect_invalid([&] { (void)adam.step(layer, gradient); }, {"'rooter'"});
  EXPECT_TRUE(support::same_parameters(layer, before));
}

}  // namespace parameter_groups_test
}  // namespace moe
