#include "moe/optim/check_step.hpp"

#include <gtest/gtest.h>

#include <random>

#include "moe/moe.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "support/random_model.hpp"

namespace moe {
namespace check_step_test {

using support::expect_invalid;
using SomeLayer = Layer<Router<float>, TopK, Mlp<float>>;

/// A layer in a larger model.
struct Block {
  SomeLayer moe;
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("moe", f, self.moe...);
  }
};

void grow(SomeLayer& layer) {
  std::mt19937_64 rng(2);
  add_experts(layer, Router<float>::zeros(1, 3), make_experts<Mlp<float>>(1, 3, 4, rng));
}
void grow(Block& block) { grow(block.moe); }

/// An optimiser, and a gradient, from before add_experts, to which neither was passed.
template <class Optimiser, class Model>
void expect_that_the_older_is_named(Model model) {
  Optimiser optimiser(model);
  const Model older = zeros_like(model);
  grow(model);
  const Model before = model;
  expect_invalid([&] { (void)optimiser.step(model, zeros_like(model)); },
                 {"step: the moments are older than the model", "add_experts(layer, rows, experts, adam)",
                  "make a new optimiser", "3", "2"});
  Optimiser fresh(model);
  expect_invalid([&] { (void)fresh.step(model, older); },
                 {"step: the gradient is older than the model", "zeros_like", "3", "2"});
  EXPECT_TRUE(support::same_parameters(model, before));
  EXPECT_TRUE(fresh.step(model, zeros_like(model)));
}

TEST(CheckStep, WhatIsOlderThanTheModelIsNamedAndWhatToDo) {
  std::mt19937_64 rng(1);
  const SomeLayer layer{Router<float>::random(2, 3, rng), TopK{.k = 1, .weights = ChoiceWeights::probabilities()},
                        make_experts<Mlp<float>>(2, 3, 4, rng)};
  expect_that_the_older_is_named<AdamW<SomeLayer>>(layer);
  expect_that_the_older_is_named<Sgd<SomeLayer>>(layer);
  expect_that_the_older_is_named<AdamW<Block>>(Block{layer});
  expect_that_the_older_is_named<Sgd<Block>>(Block{layer});
}

TEST(CheckStep, AFrozenExpertThatSurgeryRemovedIsNamed) {
  std::mt19937_64 rng(1);
  SomeLayer layer{Router<float>::random(3, 3, rng), TopK{.k = 1, .weights = ChoiceWeights::probabilities()},
                  make_experts<Mlp<float>>(3, 3, 4, rng)};
  AdamW adam(layer);
  adam.frozen = {"experts.2"};
  remove_expert(layer, 0, adam);
  expect_invalid([&] { (void)adam.step(layer, zeros_like(layer)); }, {"'experts.2'", "as it is now", "surgery"});
}

}  // namespace check_step_test
}  // namespace moe
