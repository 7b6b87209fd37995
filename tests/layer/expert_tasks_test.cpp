#include "moe/layer/expert_tasks.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "moe/core/executor.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/layer/run_in_cache.hpp"

namespace moe {
namespace expert_tasks_test {

using detail::ExpertTasks;

/// Where the rows of experts begin that have so many each.
std::vector<Index> first_row_of(const std::vector<Index>& rows) {
  std::vector<Index> first_row{0};
  for (const Index count : rows) first_row.push_back(first_row.back() + count);
  return first_row;
}

ExpertTasks tasks_of_columns(const std::vector<Index>& rows, Index columns, Index wanted) {
  ExpertTasks tasks;
  tasks.columns.assign(rows.size(), columns);
  tasks.cut_columns(first_row_of(rows), wanted);
  return tasks;
}

TEST(ExpertTasks, AreColumnsOfExpertsWithRows) {
  const ExpertTasks tasks = tasks_of_columns({2, 0, 1}, 1100, 2);
  ASSERT_EQ(tasks.count(), 10);
  EXPECT_EQ(tasks[4].expert, 0u);
  EXPECT_EQ(tasks[4].first, 1024);
  EXPECT_EQ(tasks[4].count, 76);
  EXPECT_EQ(tasks[5].expert, 2u);
  const ExpertTasks more = tasks_of_columns({2, 0, 1}, 1100, 20);
  EXPECT_EQ(more.count(), 18);
  EXPECT_EQ(more[1].first, 128);
}

// Two experts of 1100 columns for five threads: 2200 / 5 = 440, in steps of 64; for one, as many as are packed at once.
TEST(ExpertTasks, AreSmallerWhereThereWouldBeTooFew) {
  const auto widest = [](Index wanted) { return tasks_of_columns({20, 20}, 1100, wanted)[0].count; };
  EXPECT_EQ(widest(1), 512);
  EXPECT_EQ(widest(5), 384);
  EXPECT_EQ(widest(1000), 64);
}

TEST(ExpertTasks, RowsGoThroughAllStagesInBlocksWhereThatKeepsThreadsBusy) {
  std::mt19937_64 rng(1);
  const auto small = make_experts<Mlp<float>>(3, 21, 1100, rng);
  const Index most = small[0].rows_of_block();
  ASSERT_GT(most, 16);
  ASSERT_LT(most, 200);
  const auto first_row = first_row_of({most, 0, 2 * most + 1}), no_rows = first_row_of({0, 0, 0});
  ExpertTasks tasks;
  EXPECT_EQ(detail::rows_of_common_block(small, first_row), most);
  EXPECT_TRUE(tasks.cut_rows(first_row, most, 1));
  ASSERT_EQ(tasks.count(), 4);
  EXPECT_EQ(tasks[0].count, most);
  EXPECT_EQ(tasks[1].expert, 2u);
  EXPECT_EQ(tasks[3].first + tasks[3].count, 2 * most + 1);
  EXPECT_FALSE(tasks.cut_rows(first_row, most, 2));
  EXPECT_FALSE(tasks.cut_rows(first_row, 0, 1));
  EXPECT_FALSE(tasks.cut_rows(no_rows, detail::rows_of_common_block(small, no_rows), 1));
}

/// Says how many tasks it runs at a time, in a type of its own.
struct Threads {
  int count;
  int threads_at_work() const { return count; }
  template <class F>
  void parallel_for(Index tasks, F&& f) const {
    Serial{}.parallel_for(tasks, f);
  }
};

TEST(ExpertTasks, AnyIntegerSaysHowManyThreadsThereAre) {
  EXPECT_EQ(detail::tasks_to_occupy(Threads{3}), 3);
  EXPECT_EQ(detail::tasks_to_occupy(Threads{-1}), 1);
}

}  // namespace expert_tasks_test
}  // namespace moe
