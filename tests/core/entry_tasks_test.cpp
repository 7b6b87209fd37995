#include "moe/core/entry_tasks.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "core/run_tasks.hpp"

namespace moe {
namespace entry_tasks_test {

constexpr Index most = detail::EntryTasks::entries_of_task;

TEST(EntryTasks, LargeRunsAreCutAndSmallOnesArePutTogether) {
  detail::EntryTasks tasks;
  EXPECT_EQ(tasks.size(), 0);
  for (const Index count : {Index{0}, Index{3}, 2 * most + 5, Index{7}, most}) tasks.add(count);
  std::vector<std::vector<Index>> pieces;
  tasks.run(Serial{}, [&](Index task, std::size_t run, Index begin, Index count) {
    pieces.push_back({task, static_cast<Index>(run), begin, count});
  });
  EXPECT_EQ(tasks.size(), 5);
  EXPECT_EQ(
      pieces,
      (std::vector<std::vector<Index>>{
          {0, 1, 0, 3}, {1, 2, 0, most}, {2, 2, most, most}, {3, 2, 2 * most, 5}, {3, 3, 0, 7}, {4, 4, 0, most}}));
}

TEST(EntryTasks, ThousandsOfBiasesAreFewTasks) {
  detail::EntryTasks tasks;
  for (int i = 0; i < 4096; ++i) tasks.add(64);
  EXPECT_EQ(tasks.size(), 4096 * 64 / most);
}

}  // namespace entry_tasks_test
}  // namespace moe
