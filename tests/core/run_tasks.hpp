// What every executor must do.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "moe/core/types.hpp"

namespace moe {
namespace core_tests {

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

}  // namespace core_tests
}  // namespace moe
