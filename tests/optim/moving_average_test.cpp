#include "moe/optim/moving_average.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>

#include "io/temporary_folder.hpp"
#include "moe/io/model_file.hpp"
#include "moe/moe.hpp"
#include "support/bits.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace moving_average_test {

template <class S>
auto layer(std::uint64_t seed, Index experts = 3) {
  std::mt19937_64 rng(seed);
  return Layer{Router<S>::random(experts, 5, rng), ScoredTopK{.k = 2}, make_experts<SwiGlu<S>>(experts, 5, 7, rng)};
}

TEST(MovingAverage, FollowsTheFormula) {
  const auto start = layer<double>(1), next = layer<double>(2);
  MovingAverage average(start, {.decay = 0.75, .warms_up = false});
  EXPECT_TRUE(flatten(average.model()) == flatten(start));
  average.update(next);
  average.update(next);
  const Vector<double> expected = 0.5625 * flatten(start) + 0.4375 * flatten(next);
  EXPECT_LE((flatten(average.model()) - expected).cwiseAbs().maxCoeff(), 1e-15);
  EXPECT_EQ(average.steps(), 2);
}

TEST(MovingAverage, WarmsUp) {
  const auto start = layer<double>(1), next = layer<double>(2);
  MovingAverage average(start);
  average.update(next);  // 1 / 10 is kept
  const Vector<double> expected = 0.1 * flatten(start) + 0.9 * flatten(next);
  EXPECT_LE((flatten(average.model()) - expected).cwiseAbs().maxCoeff(), 1e-15);
}

TEST(MovingAverage, HasTheBuffersOfTheLastModel) {
  auto model = layer<float>(1);
  MovingAverage average(model);
  model.gate.selection_bias_E = Vector<double>{{1, 2, 3}};
  average.update(model);
  EXPECT_EQ(average.model().gate.selection_bias_E, model.gate.selection_bias_E);
}

TEST(MovingAverage, IsSavedWithItsBuffers) {
  auto model = layer<float>(1);
  model.gate.selection_bias_E = Vector<double>{{1, 2, 3}};
  MovingAverage average(model), other(model);
  model.gate.selection_bias_E = Vector<double>{{4, 5, 6}};
  average.update(model);
  const TemporaryFolder folder;
  moe::io::save(folder.path() / "average.safetensors", average);
  moe::io::load(folder.path() / "average.safetensors", other);
  EXPECT_EQ(other.model().gate.selection_bias_E, model.gate.selection_bias_E);
  EXPECT_EQ(other.steps(), 1);
  EXPECT_EQ(flatten(other.model()), flatten(average.model()));
}

TEST(MovingAverage, HasTheSameBitsForAnyNumberOfThreads) {
  std::mt19937_64 rng(1);
  const auto start = make_experts<Mlp<float>>(2, 300, 300, rng), next = make_experts<Mlp<float>>(2, 300, 300, rng);
  const auto made = [](const auto& experts) {
    std::mt19937_64 same(1);
    return Layer{Router<float>::random(2, 300, same), TopK{.k = 2}, experts};
  };
  MovingAverage one(made(start)), many(made(start));
  one.update(made(next), Serial{});
  many.update(made(next));
  EXPECT_TRUE(support::same_bits(flatten(one.model()), flatten(many.model())));
}

TEST(MovingAverage, WhatDoesNotFitIsRefused) {
  MovingAverage average(layer<float>(1));
  const Vector<double> before = flatten(average.model());
  support::expect_invalid([&] { average.update(layer<float>(1, 4)); }, {"MovingAverage::update", "make it anew"});
  support::expect_invalid([] { MovingAverage(layer<float>(1), {.decay = 1}); }, {"decay is 1"});
  support::expect_invalid([] { MovingAverage(layer<float>(1), {.decay = -0.1}); }, {"decay is -0.1"});
  EXPECT_EQ(flatten(average.model()), before);
  EXPECT_EQ(average.steps(), 0);
}

}  // namespace moving_average_test
}  // namespace moe
