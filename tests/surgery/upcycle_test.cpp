// That an upcycled layer computes what the dense network did is a property: tests/properties/surgery_test.cpp.
#include "moe/surgery/upcycle.hpp"

#include <gtest/gtest.h>

#include <random>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "support/random_model.hpp"
#include "surgery/surgery.hpp"

namespace moe {
namespace upcycle_test {

using support::expect_invalid;
using support::same_parameters;

Mlp<double> network() {
  std::mt19937_64 rng(1);
  return support::random_expert<Mlp<double>>(surgery::width, 6, rng);
}

TEST(Upcycle, CopiesKeepTheirBits) {
  const auto experts = upcycle(network(), 3);
  ASSERT_EQ(experts.size(), 3u);
  for (const auto& expert : experts) EXPECT_TRUE(same_parameters(expert, network()));
}

TEST(Upcycle, SlicesAreCopyByCopy) {
  const auto experts = upcycle(network(), 2, {.granularity = 3});
  ASSERT_EQ(experts.size(), 6u);
  EXPECT_TRUE(same_parameters(experts[1], experts[4]));
  EXPECT_EQ(experts[4].w1_FD(1, 2), network().w1_FD(3, 2));
  EXPECT_EQ(experts[4].w2_DF(2, 1), 3 * network().w2_DF(2, 3));
  EXPECT_EQ(experts[4].b1_F(0), network().b1_F(2));
  EXPECT_EQ(experts[4].b2_D, network().b2_D);
}

TEST(Upcycle, AnOptimisersMomentsAreUpcycledToo) {
  auto dense = network();
  AdamW dense_adam{dense};
  ASSERT_TRUE(dense_adam.step(dense, network()));
  Layer layer{Router<double>::zeros(2, surgery::width), TopK{}, upcycle(dense, 2)};
  AdamW adam{layer};
  auto [dense_mean, dense_square] = dense_adam.moments();
  auto [mean, square] = adam.moments();
  mean.experts = upcycle(dense_mean, 2), square.experts = upcycle(dense_square, 2);
  adam.steps = dense_adam.steps;
  EXPECT_TRUE(same_parameters(square.experts[1], dense_square));
  EXPECT_TRUE(surgery::train_once(layer, adam, surgery::tokens()));
}

TEST(RepeatRows, ComeOneAfterTheOther) {
  const Router<double> router{.weight_ED = Matrix<double>{{1, 2}, {3, 4}}, .bias_E = Vector<double>{{5, 6}}};
  const auto repeated = repeat_rows(router, 2);
  EXPECT_EQ(repeated.weight_ED, (Matrix<double>{{1, 2}, {1, 2}, {3, 4}, {3, 4}}));
  EXPECT_EQ(repeated.bias_E, (Vector<double>{{5, 5, 6, 6}}));
  EXPECT_EQ(repeat_rows(Router<double>{.weight_ED = router.weight_ED}, 3).bias_E.size(), 0);
  expect_invalid([&] { repeat_rows(router, 0); }, {"0 times"});
}

TEST(Upcycle, WhatCannotBeIsRefused) {
  expect_invalid([] { upcycle(network(), 0); }, {"0 copies"});
  expect_invalid([] { upcycle(network(), 1, {.granularity = 4}); }, {"6 hidden units", "4 slices"});
  expect_invalid([] { upcycle(network(), 1, {.weight_sum = 0}); }, {"weight_sum is 0"});
}

}  // namespace upcycle_test
}  // namespace moe
