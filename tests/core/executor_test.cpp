#include "moe/core/executor.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/run_tasks.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace executor_test {

using core_tests::expect_each_task_once, core_tests::expect_the_lowest_exception;

TEST(Executor, SerialRunsTheTasksInOrder) {
  std::vector<Index> order;
  Serial{}.parallel_for(3, [&](Index i) { order.push_back(i); });
  EXPECT_EQ(order, (std::vector<Index>{0, 1, 2}));
}

TEST(Executor, ATaskCountOfZeroRunsNothing) {
  Serial{}.parallel_for(0, [](Index) { ADD_FAILURE(); });
  DefaultExecutor{}.parallel_for(0, [](Index) { ADD_FAILURE(); });
}

TEST(Executor, SerialThrowsWhatATaskThrew) { expect_the_lowest_exception(Serial{}); }

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

}  // namespace executor_test
}  // namespace moe
