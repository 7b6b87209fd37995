#include "moe/core/pool_executor.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "core/run_tasks.hpp"

namespace moe {
namespace pool_executor_test {

using core_tests::expect_each_task_once, core_tests::expect_the_lowest_exception;

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

TEST(PoolExecutor, TheCallerWorksBesideThePoolsThreads) {
  EagerPool eager;
  BusyPool busy;
  EXPECT_EQ(PoolExecutor{eager}.threads_at_work(), 4);
  EXPECT_EQ(PoolExecutor{busy}.threads_at_work(), 3);
}

TEST(PoolExecutor, APoolRunsEachTaskOnce) {
  EagerPool pool;
  expect_each_task_once(PoolExecutor{pool}, 1);
  expect_each_task_once(PoolExecutor{pool}, 100);
}

TEST(PoolExecutor, APoolThrowsTheExceptionOfTheLowestTask) {
  EagerPool pool;
  for (int run = 0; run < 10; ++run) expect_the_lowest_exception(PoolExecutor{pool});
}

TEST(PoolExecutor, APoolIsUsableAfterAnException) {
  EagerPool pool;
  expect_the_lowest_exception(PoolExecutor{pool});
  expect_each_task_once(PoolExecutor{pool}, 10);
}

TEST(PoolExecutor, TheCallerDoesTheWorkOfABusyPool) {
  BusyPool pool;
  expect_each_task_once(PoolExecutor{pool}, 10);
}

TEST(PoolExecutor, APoolWithoutThreadsIsSerial) {
  EmptyPool pool;
  expect_each_task_once(PoolExecutor{pool}, 10);
}

TEST(PoolExecutor, ATaskCountOfZeroRunsNothing) {
  EagerPool pool;
  PoolExecutor{pool}.parallel_for(0, [](Index) { ADD_FAILURE(); });
}

static_assert(Executor<PoolExecutor<EagerPool>>);
static_assert(TaskPool<EagerPool> && TaskPool<BusyPool> && TaskPool<EmptyPool>);
static_assert(!TaskPool<Serial>);

}  // namespace pool_executor_test
}  // namespace moe
