// The same bits from every executor and every number of threads: outputs, losses and gradients.
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <stdexcept>
#include <unsupported/Eigen/CXX11/ThreadPool>

#include "passes.hpp"

namespace determinism {
namespace executors_test {

/// Tasks in the reverse order: whatever depends on the order shows without any thread.
struct Backwards {
  template <class F>
  void parallel_for(Index count, F&& f) const {
    for (Index i = count; i-- > 0;) f(i);
  }
};

template <class Layer>
void expect_same_from_every_executor(const Layer& layer) {
  using S = typename Layer::Scalar;
  std::mt19937_64 rng(2);
  const moe::Matrix<S> x_TD = support::random_matrix<S>(tokens, width, rng);
  for (const std::optional<std::uint64_t> seed : {std::optional<std::uint64_t>(9), std::optional<std::uint64_t>()}) {
    const Passes<S> serial = run(layer, x_TD, moe::Serial{}, seed);
    ASSERT_TRUE(serial.y_TD.allFinite() && serial.gradient.allFinite());
    EXPECT_EQ(run(layer, x_TD, moe::Serial{}, seed), serial) << "a second time";
    EXPECT_EQ(run(layer, x_TD, Backwards{}, seed), serial) << "backwards";
    EXPECT_EQ(run(layer, x_TD, moe::DefaultExecutor{}, seed), serial) << "by default";
    for (const int threads : {1, 2, 3, 4}) {
      Eigen::ThreadPool pool(threads);
      EXPECT_EQ(run(layer, x_TD, moe::PoolExecutor(pool), seed), serial) << "in a pool of " << threads;
      EXPECT_EQ(run(layer, x_TD, moe::Team{threads}, seed), serial) << "in a team of " << threads;
#ifdef _OPENMP
      EXPECT_EQ(run(layer, x_TD, moe::OpenMp{threads}, seed), serial) << "OpenMP, " << threads << " threads";
#endif
    }
  }
}

template <class S>
class Executors : public testing::Test {
 protected:
  std::mt19937_64 rng{42};
};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(Executors, Scalars);

TYPED_TEST(Executors, NoiseCapacityAndLosses) { expect_same_from_every_executor(noisy_layer<TypeParam>(this->rng)); }
TYPED_TEST(Executors, ExpertChoice) { expect_same_from_every_executor(expert_choice_layer<TypeParam>(this->rng)); }
TYPED_TEST(Executors, LayerOfLayers) { expect_same_from_every_executor(layer_of_layers<TypeParam>(this->rng)); }

TYPED_TEST(Executors, SoftLayer) { expect_same_from_every_executor(soft_layer<TypeParam>(this->rng)); }

TEST(Seeds, DecideAllRandomness) {
  std::mt19937_64 rng(3);
  const auto layer = noisy_layer<double>(rng);
  const moe::Matrix<double> x_TD = support::random_matrix(tokens, width, rng);
  const auto first = run(layer, x_TD, moe::DefaultExecutor{}, 1);
  EXPECT_EQ(run(layer, x_TD, moe::DefaultExecutor{}, 1), first);
  EXPECT_FALSE(run(layer, x_TD, moe::DefaultExecutor{}, 2) == first);
  EXPECT_FALSE(run(layer, x_TD, moe::DefaultExecutor{}, std::nullopt) == first);
}

/// A tape that other batches went through, larger and smaller, gives what a new one gives.
TEST(Tapes, LeaveNoTraces) {
  std::mt19937_64 rng(4);
  const auto layer = layer_of_layers<double>(rng);
  const moe::Matrix<double> x_TD = support::random_matrix(tokens, width, rng);
  std::remove_const_t<decltype(layer)>::Tape used(5);
  for (const Index rows : {Index{7}, tokens, Index{0}, Index{1}}) layer.forward(x_TD.topRows(rows), used);
  used.random.emplace(6);
  const moe::Matrix<double> y_TD = layer.forward(x_TD.topRows(30), used);
  std::remove_const_t<decltype(layer)>::Tape fresh(6);
  EXPECT_TRUE(support::same_bits(layer.forward(x_TD.topRows(30), fresh), y_TD));
  EXPECT_TRUE(support::same_bits(layer.auxiliary_loss(fresh), layer.auxiliary_loss(used)));
  auto gradient = moe::zeros_like(layer), other = moe::zeros_like(layer);
  const moe::Matrix<double> dx_TD = layer.backward(x_TD.topRows(30), y_TD, fresh, gradient);
  EXPECT_TRUE(support::same_bits(layer.backward(x_TD.topRows(30), y_TD, used, other), dx_TD));
  EXPECT_TRUE(support::same_bits(moe::flatten(gradient), moe::flatten(other)));
}

#ifdef _OPENMP
TEST(Executors, RefusesANegativeNumberOfThreads) {
  EXPECT_THROW(moe::OpenMp{-1}.parallel_for(2, [](Index) {}), std::invalid_argument);
}
#endif

}  // namespace executors_test
}  // namespace determinism
