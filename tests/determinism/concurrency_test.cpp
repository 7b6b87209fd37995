// Several threads on one layer, layers inside a busy pool, and exceptions out of parallel regions.
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <unsupported/Eigen/CXX11/ThreadPool>
#include <vector>

#include "passes.hpp"

namespace determinism {
namespace concurrency_test {

TEST(Concurrency, ManyThreadsOnOneLayer) {
  constexpr int threads = 4, repetitions = 5;
  std::mt19937_64 rng(1);
  const auto layer = layer_of_layers<float>(rng);
  std::vector<moe::Matrix<float>> batches;
  std::vector<Passes<float>> serial;
  for (int i = 0; i < threads; ++i) {
    batches.push_back(support::random_matrix<float>(50 + 30 * i, width, rng));
    serial.push_back(run(layer, batches.back(), moe::Serial{}, i));
  }
  std::atomic<int> different = 0;
  std::vector<std::thread> team;
  for (int i = 0; i < threads; ++i)
    team.emplace_back([&, i] {
      const auto at = static_cast<std::size_t>(i);
      for (int n = 0; n < repetitions; ++n) {
        if (!(run(layer, batches[at], moe::DefaultExecutor{}, i) == serial[at])) ++different;
        if (!(run(layer, batches[at], moe::Team{3}, i) == serial[at])) ++different;
        // forward without a tape of one's own, too
        const auto alone = run(layer, batches[at], moe::Serial{}, std::nullopt);
        if (!support::same_bits(layer.forward(batches[at]), alone.y_TD)) ++different;
      }
    });
  for (std::thread& thread : team) thread.join();
  EXPECT_EQ(different, 0);
}

/// A linear expert that throws in the pass it is told to.
struct Fragile {
  enum class Pass { none, forward, backward };
  struct Alarm {
    std::atomic<Pass> pass{Pass::none};
  };

  moe::Linear<double> linear;
  int number = 0;
  bool throws = false;
  std::shared_ptr<const Alarm> alarm;

  using Tape = moe::Linear<double>::Tape;

  Index output_width() const { return linear.output_width(); }
  void fail_in(Pass pass) const {
    if (throws && alarm->pass == pass) throw std::runtime_error("expert " + std::to_string(number));
  }
  void forward(moe::ConstMatrixRef<double> x, moe::MatrixRef<double> y, Tape& tape) const {
    fail_in(Pass::forward);
    linear.forward(x, y, tape);
  }
  void backward(moe::ConstMatrixRef<double> x, moe::ConstMatrixRef<double> dy, Tape& tape, moe::MatrixRef<double> dx,
                Fragile& gradient) const {
    fail_in(Pass::backward);
    linear.backward(x, dy, tape, dx, gradient.linear);
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    moe::Linear<double>::visit_parameters(f, self.linear...);
  }
};

/// The exception of the lowest expert comes out, the tape then holds no pass, and both are usable afterwards.
template <class Exec>
void expect_exception(const Exec& executor) {
  std::mt19937_64 rng(2);
  const auto alarm = std::make_shared<Fragile::Alarm>();
  std::vector<Fragile> experts;
  for (int e = 0; e < 6; ++e)
    experts.push_back({support::random_expert<moe::Linear<double>>(width, hidden, rng), e, e == 2 || e >= 4, alarm});
  const moe::Layer layer{support::random_router(6, width, rng), moe::TopK{.k = 2}, experts};
  const moe::Matrix<double> x_TD = support::random_matrix(tokens, width, rng);
  const moe::Matrix<double> dy_TO = support::random_matrix(tokens, hidden, rng);
  const auto healthy = run(layer, x_TD, executor, {});

  typename std::remove_const_t<decltype(layer)>::Tape tape;
  auto gradient = moe::zeros_like(layer);
  const auto message = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "no exception";
  };
  for (int repetition = 0; repetition < 8; ++repetition) {
    alarm->pass = Fragile::Pass::forward;
    EXPECT_EQ(message([&] { layer.forward(x_TD, tape, executor); }), "expert 2");
    EXPECT_THROW(layer.backward(x_TD, dy_TO, tape, gradient, executor), std::invalid_argument);
    alarm->pass = Fragile::Pass::backward;
    layer.forward(x_TD, tape, executor);
    EXPECT_EQ(message([&] { layer.backward(x_TD, dy_TO, tape, gradient, executor); }), "expert 2");
  }
  alarm->pass = Fragile::Pass::none;
  EXPECT_EQ(run(layer, x_TD, executor, {}), healthy);
  EXPECT_TRUE(support::same_bits(layer.forward(x_TD, tape, executor), healthy.y_TD));
}

TEST(Exceptions, SerialLetsThemPass) { expect_exception(moe::Serial{}); }

TEST(Exceptions, ComeOutOfAPool) {
  for (const int threads : {1, 2, 4}) {
    Eigen::ThreadPool pool(threads);
    expect_exception(moe::PoolExecutor(pool));
  }
}

TEST(Exceptions, ComeOutOfATeam) {
  for (const int threads : {1, 2, 4}) expect_exception(moe::Team{threads});
}

#ifdef _OPENMP
TEST(Exceptions, ComeOutOfOpenMp) {
  for (const int threads : {1, 2, 4}) expect_exception(moe::OpenMp{threads});
}
#endif

/// An expert that is a layer and gives its own tasks to the executor that it is itself a task of.
template <class Exec>
struct Inside {
  using Inner = decltype(expert_choice_layer<double>(std::declval<std::mt19937_64&>()));

  Inner inner;
  Exec executor;

  using Tape = Inner::Tape;

  void forward(moe::ConstMatrixRef<double> x, moe::MatrixRef<double> y, Tape& tape) const {
    inner.forward_into(moe::Batch<double>(x), y, tape, executor);
  }
  void backward(moe::ConstMatrixRef<double> x, moe::ConstMatrixRef<double> dy, Tape& tape, moe::MatrixRef<double> dx,
                Inside& gradient) const {
    inner.backward_into(moe::Batch<double>(x), dy, tape, dx, gradient.inner, executor);
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    Inner::visit_parameters(f, self.inner...);
  }
};

template <class Exec>
void expect_a_layer_inside_a_layer(const Exec& executor) {
  std::mt19937_64 rng(3);
  std::vector<Inside<Exec>> experts;
  for (int e = 0; e < 4; ++e) experts.push_back({expert_choice_layer<double>(rng), executor});
  const moe::Layer layer{support::random_router(4, width, rng), moe::TopK{.k = 2}, experts};
  const moe::Matrix<double> x_TD = support::random_matrix(120, width, rng);
  const auto serial = run(layer, x_TD, moe::Serial{}, {});
  for (int repetition = 0; repetition < 5; ++repetition) EXPECT_EQ(run(layer, x_TD, executor, {}), serial);
}

TEST(Pools, ALayerInsideALayerDoesNotDeadlock) {
  for (const int threads : {1, 2, 4}) {
    Eigen::ThreadPool pool(threads);
    expect_a_layer_inside_a_layer(moe::PoolExecutor(pool));
  }
}

TEST(Teams, ALayerInsideALayerDoesNotDeadlock) {
  for (const int threads : {1, 2, 4}) expect_a_layer_inside_a_layer(moe::Team{threads});
}

TEST(Pools, WhoseThreadsAreAllBusyDoNotDeadlock) {
  constexpr int threads = 2, requests = 8;
  Eigen::ThreadPool pool(threads);
  std::mt19937_64 rng(4);
  const auto layer = noisy_layer<double>(rng);
  const moe::Matrix<double> x_TD = support::random_matrix(100, width, rng);
  const auto serial = run(layer, x_TD, moe::Serial{}, 7);
  std::atomic<int> different = 0;
  moe::PoolExecutor(pool).parallel_for(requests, [&](Index) {
    if (!(run(layer, x_TD, moe::PoolExecutor(pool), 7) == serial)) ++different;
  });
  EXPECT_EQ(different, 0);
}

}  // namespace concurrency_test
}  // namespace determinism
