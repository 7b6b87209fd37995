#include "moe/core/executor.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/expect_invalid.hpp"

namespace moe {
namespace executor_test {

/// Starts a thread for every task.
class EagerPool {
 public:
  ~EagerPool() {
    for (std::thread& thread : threads_) thread.join();
  }
  int NumThreads() const { return 3; }
  void Schedule(std::function<void()> task) { threads_.emplace_back(std::move(task)); }

 private:
  std::vector<std::thread> threads_;
};

/// All threads are busy: runs nothing before the end.
class BusyPool {
 public:
  ~BusyPool() {
    for (const auto& task : tasks_) task();
  }
  int NumThreads() const { return 2; }
  void Schedule(std::function<void()> task) { tasks_.push_back(std::move(task)); }

 private:
  std::vector<std::function<void()>> tasks_;
};

struct EmptyPool {
  int NumThreads() const { return 0; }
  void Schedule(const std::function<void()>&) { ADD_FAILURE() << "there is no thread to run it"; }
};

template <class Exec>
void expect_each_task_once(const Exec& executor, Index count) {
  std::vector<int> runs(static_cast<std::size_t>(count), 0);
  executor.parallel_for(count, [&](Index i) { ++runs[static_cast<std::size_t>(i)]; });
  EXPECT_EQ(runs, std::vector<int>(static_cast<std::size_t>(count), 1));
}

template <class Exec>
void expect_the_lowest_exception(const Exec& executor) {
  try {
    executor.parallel_for(20, [](Index i) {
      if (i >= 7) throw std::runtime_error(std::to_string(i));
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "7");
  }
}

TEST(Executor, SerialRunsTheTasksInOrder) {
  std::vector<Index> order;
  Serial{}.parallel_for(3, [&](Index i) { order.push_back(i); });
  EXPECT_EQ(order, (std::vector<Index>{0, 1, 2}));
}

TEST(Executor, ATaskCountOfZeroRunsNothing) {
  Serial{}.parallel_for(0, [](Index) { ADD_FAILURE(); });
  DefaultExecutor{}.parallel_for(0, [](Index) { ADD_FAILURE(); });
  EagerPool pool;
  PoolExecutor{pool}.parallel_for(0, [](Index) { ADD_FAILURE(); });
}

TEST(Executor, TheCallerWorksBesideThePoolsThreads) {
  EagerPool eager;
  BusyPool busy;
  EXPECT_EQ(PoolExecutor{eager}.threads_at_work(), 4);
  EXPECT_EQ(PoolExecutor{busy}.threads_at_work(), 3);
}

TEST(Executor, SerialThrowsWhatATaskThrew) { expect_the_lowest_exception(Serial{}); }

TEST(Executor, APoolRunsEachTaskOnce) {
  EagerPool pool;
  expect_each_task_once(PoolExecutor{pool}, 1);
  expect_each_task_once(PoolExecutor{pool}, 100);
}

TEST(Executor, APoolThrowsTheExceptionOfTheLowestTask) {
  EagerPool pool;
  for (int run = 0; run < 10; ++run) expect_the_lowest_exception(PoolExecutor{pool});
}

TEST(Executor, APoolIsUsableAfterAnException) {
  EagerPool pool;
  expect_the_lowest_exception(PoolExecutor{pool});
  expect_each_task_once(PoolExecutor{pool}, 10);
}

TEST(Executor, TheCallerDoesTheWorkOfABusyPool) {
  BusyPool pool;
  expect_each_task_once(PoolExecutor{pool}, 10);
}

TEST(Executor, APoolWithoutThreadsIsSerial) {
  EmptyPool pool;
  expect_each_task_once(PoolExecutor{pool}, 10);
}

TEST(Executor, BlocksCoverAllAndTheLastIsShort) {
  std::vector<std::pair<Index, Index>> blocks;
  detail::parallel_blocks(Serial{}, 10, 4, [&](Index begin, Index count) { blocks.emplace_back(begin, count); });
  EXPECT_EQ(blocks, (std::vector<std::pair<Index, Index>>{{0, 4}, {4, 4}, {8, 2}}));
}

#ifdef _OPENMP
TEST(Executor, OpenMpRunsEachTaskOnceWithAnyNumberOfThreads) {
  for (const int threads : {0, 1, 2, 7, 64}) expect_each_task_once(OpenMp{.threads = threads}, 50);
}

TEST(Executor, OpenMpThrowsTheExceptionOfTheLowestTask) {
  for (int run = 0; run < 10; ++run) expect_the_lowest_exception(OpenMp{.threads = 4});
}

TEST(Executor, OpenMpRefusesANegativeNumberOfThreads) {
  support::expect_invalid([] { OpenMp{.threads = -2}.parallel_for(3, [](Index) {}); }, {"threads is -2"});
}
#endif

#ifdef _OPENMP
TEST(Executor, TheDefaultRunsEachTaskOnceAndThrowsTheLowestException) {
  for (const Index count : {1, 2, 100}) expect_each_task_once(DefaultExecutor{}, count);
  for (int run = 0; run < 10; ++run) expect_the_lowest_exception(DefaultExecutor{});
}

// What a task calls, such as a product of Eigen's, starts no threads: the sums' order would depend on their number.
TEST(Executor, TasksOfTheDefaultSeeOneOpenMpThread) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(3);
  std::vector<int> seen(20, 0);
  EXPECT_EQ(DefaultExecutor{}.threads_at_work(), 3);
  DefaultExecutor{}.parallel_for(20, [&](Index i) {
    seen[static_cast<std::size_t>(i)] = omp_get_max_threads();
    EXPECT_EQ(DefaultExecutor{}.threads_at_work(), 1);
    expect_each_task_once(DefaultExecutor{}, 5);
  });
  EXPECT_EQ(seen, std::vector<int>(20, 1));
  EXPECT_EQ(omp_get_max_threads(), 3);
  EXPECT_THROW(DefaultExecutor{}.parallel_for(20, [](Index) { throw std::runtime_error(""); }), std::runtime_error);
  EXPECT_EQ(omp_get_max_threads(), 3);
  omp_set_num_threads(before);
}

TEST(Executor, InsideARegionTheDefaultWorksAlone) {
  int alone = 0;
#pragma omp parallel num_threads(2) reduction(+ : alone)
  {
    const auto me = std::this_thread::get_id();
    DefaultExecutor{}.parallel_for(10, [&](Index) { alone += me == std::this_thread::get_id() ? 1 : 0; });
  }
  EXPECT_EQ(alone, 20);
}
#endif

static_assert(Executor<Serial>);
static_assert(Executor<Team>);
static_assert(Executor<DefaultExecutor>);
static_assert(Executor<PoolExecutor<EagerPool>>);
static_assert(!Executor<int>);

struct NotConst {
  template <class F>
  void parallel_for(Index, F&&) {}
};
static_assert(!Executor<NotConst>);  // a layer's passes are const, and so is what they are given

static_assert(TaskPool<EagerPool> && TaskPool<BusyPool> && TaskPool<EmptyPool>);
static_assert(!TaskPool<Serial>);

}  // namespace executor_test
}  // namespace moe
