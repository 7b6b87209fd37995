#include "moe/core/executor_ref.hpp"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "core/run_tasks.hpp"

namespace moe {
namespace executor_ref_test {

/// Runs the tasks backwards, and does not say how many at a time.
struct Backwards {
  template <class F>
  void parallel_for(Index count, F&& f) const {
    while (count-- > 0) f(count);
  }
};

/// Says that it runs so many tasks at a time.
class Boasting : public Backwards {
 public:
  explicit Boasting(int threads) : threads_(threads) {}
  int threads_at_work() const { return threads_; }

 private:
  int threads_;
};

TEST(ExecutorRef, RunsTasksAsTheExecutorDoes) {
  const Backwards executor;
  std::vector<Index> order;
  detail::ExecutorRef(executor).parallel_for(3, [&](Index i) { order.push_back(i); });
  EXPECT_EQ(order, (std::vector<Index>{2, 1, 0}));
  core_tests::expect_each_task_once(detail::ExecutorRef(executor), 20);
}

TEST(ExecutorRef, SaysHowManyTasksOccupyTheExecutor) {
  EXPECT_EQ(detail::tasks_to_occupy(Boasting{3}), 3);
  EXPECT_EQ(detail::tasks_to_occupy(Boasting{-1}), 1);
  EXPECT_EQ(detail::tasks_to_occupy(Backwards{}), 8);
}

TEST(ExecutorRef, BlocksCoverAllAndTheLastIsShort) {
  std::vector<std::pair<Index, Index>> blocks;
  detail::parallel_blocks(Backwards{}, 10, 4, [&](Index begin, Index count) { blocks.emplace_back(begin, count); });
  EXPECT_EQ(blocks, (std::vector<std::pair<Index, Index>>{{8, 2}, {4, 4}, {0, 4}}));
}

static_assert(Executor<detail::ExecutorRef>);
static_assert(!Executor<int>);

struct NotConst {
  template <class F>
  void parallel_for(Index, F&&) {}
};
static_assert(!Executor<NotConst>);  // a layer's passes are const, and so is what they are given

}  // namespace executor_ref_test
}  // namespace moe
