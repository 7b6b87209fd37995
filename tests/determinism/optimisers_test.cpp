// The same bits from every executor and every number of threads: norms, clipping, zeroing and steps.
#include <gtest/gtest.h>

#include <random>
#include <unsupported/Eigen/CXX11/ThreadPool>
#include <vector>

#include "moe/moe.hpp"
#include "support/bits.hpp"
#include "support/random_model.hpp"

namespace determinism {
namespace optimisers_test {

using moe::Index;

struct Backwards {
  template <class F>
  void parallel_for(Index count, F&& f) const {
    for (Index i = count; i-- > 0;) f(i);
  }
};

/// Large enough that matrices are cut into several tasks, and small ones put together.
template <class S>
auto large_layer(std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  return moe::Layer{support::random_router<S>(9, 300, rng), moe::TopK{.k = 2},
                    support::random_experts<moe::Mlp<S>>(9, 300, 301, rng)};
}

/// All numbers that two steps leave, whatever they work on.
template <class Optimiser, class SomeLayer, class Exec>
std::vector<moe::Vector<double>> run(Optimiser optimiser, SomeLayer layer, SomeLayer gradient, const Exec& executor) {
  std::vector<moe::Vector<double>> numbers;
  const SomeLayer other = gradient;
  for (int step = 0; step < 2; ++step) {
    EXPECT_TRUE(optimiser.step(layer, gradient, executor));
    numbers.push_back(moe::Vector<double>::Constant(1, optimiser.gradient_norm()));
    numbers.push_back(moe::flatten(gradient));
    gradient = other;
  }
  numbers.push_back(moe::flatten(layer));
  numbers.push_back(moe::flatten(optimiser));
  numbers.push_back(moe::Vector<double>::Constant(1, moe::global_norm(gradient, executor)));
  moe::clip_global_norm(gradient, 0.1, executor);
  numbers.push_back(moe::flatten(gradient));
  moe::set_zero(layer, executor);
  EXPECT_EQ(moe::flatten(layer).cwiseAbs().maxCoeff(), 0);
  return numbers;
}

bool same(const std::vector<moe::Vector<double>>& a, const std::vector<moe::Vector<double>>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!support::same_bits(a[i], b[i])) return false;
  return a.size() == b.size();
}

template <class Optimiser, class SomeLayer>
void expect_same_from_every_executor(const Optimiser& optimiser, const SomeLayer& layer, const SomeLayer& gradient) {
  const auto serial = run(optimiser, layer, gradient, moe::Serial{});
  EXPECT_TRUE(same(run(optimiser, layer, gradient, Backwards{}), serial)) << "backwards";
  EXPECT_TRUE(same(run(optimiser, layer, gradient, moe::DefaultExecutor{}), serial)) << "by default";
  for (const int threads : {2, 3}) {
    Eigen::ThreadPool pool(threads);
    EXPECT_TRUE(same(run(optimiser, layer, gradient, moe::PoolExecutor(pool)), serial)) << "a pool of " << threads;
    EXPECT_TRUE(same(run(optimiser, layer, gradient, moe::Team{threads}), serial)) << "a team of " << threads;
  }
}

template <class S>
void expect_same_by_both_optimisers() {
  const auto layer = large_layer<S>(1), gradient = large_layer<S>(2);
  moe::AdamW adam{layer, {.weight_decay = 0.1, .clip_norm = 0.5, .zero_gradient = true}};
  expect_same_from_every_executor(adam, layer, gradient);
  adam.frozen = {"router.weight.3", "experts.2", "*.b2"};
  expect_same_from_every_executor(adam, layer, gradient);
  adam.options.moments = moe::MomentFormat::bfloat16;
  expect_same_from_every_executor(adam, layer, gradient);
  moe::Sgd sgd{layer, {.momentum = 0.9, .nesterov = true, .clip_norm = 0.5, .zero_gradient = true}};
  sgd.groups = {{moe::all_vectors, {.weight_decay = 0}}, {"router", {.learning_rate = 0.1}}};
  expect_same_from_every_executor(sgd, layer, gradient);
}

TEST(Optimisers, InFloat) { expect_same_by_both_optimisers<float>(); }
TEST(Optimisers, InDouble) { expect_same_by_both_optimisers<double>(); }

}  // namespace optimisers_test
}  // namespace determinism
