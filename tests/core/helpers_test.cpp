#include "moe/core/helpers.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace moe {
namespace helpers_test {

TEST(Helpers, TheCallerAloneDoesAllTasks) {
  std::vector<int> runs(5, 0);
  const auto task = [&](Index i) { ++runs[static_cast<std::size_t>(i)]; };
  detail::SharedTasks tasks{task, 5, 0};
  EXPECT_FALSE(tasks.all_taken());
  tasks.work();
  EXPECT_TRUE(tasks.all_taken());
  EXPECT_EQ(runs, std::vector<int>(5, 1));
}

TEST(Helpers, HelpUntilAllTasksAreDone) {
  std::atomic<int> runs{0};
  const auto task = [&](Index) { ++runs; };
  for (int run = 0; run < 20; ++run) {
    detail::SharedTasks tasks{task, 10, 3};
    detail::Helpers::of_program()->help_with(tasks);
    EXPECT_EQ(runs, 10 * (run + 1));
    tasks.exception.rethrow();
  }
}

}  // namespace helpers_test
}  // namespace moe
