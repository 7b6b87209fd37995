#include "moe/core/first_exception.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace moe {
namespace first_exception_test {

/// The message that comes out where these tasks, run in this order, throw their number.
std::string rethrown(const std::vector<Index>& tasks) {
  detail::FirstException first;
  for (const Index task : tasks) first.run(task, [](Index i) { throw std::runtime_error(std::to_string(i)); });
  try {
    first.rethrow();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "none";
}

TEST(FirstException, OfTheLowestTaskIsRethrown) {
  EXPECT_EQ(rethrown({3, 1, 2}), "1");
  EXPECT_EQ(rethrown({0, 5}), "0");
  EXPECT_EQ(rethrown({}), "none");
}

TEST(FirstException, TasksBehindItAreNotRun) {
  detail::FirstException first;
  std::vector<Index> ran;
  const auto task = [&](Index i) {
    ran.push_back(i);
    if (i == 2) throw std::runtime_error("two");
  };
  for (const Index i : {0, 2, 3, 1}) first.run(i, task);
  EXPECT_EQ(ran, (std::vector<Index>{0, 2, 1}));
  EXPECT_THROW(first.rethrow(), std::runtime_error);
}

TEST(FirstException, IsGivenAwayOnce) {
  detail::FirstException first;
  first.run(0, [](Index) { throw std::runtime_error("once"); });
  EXPECT_THROW(first.rethrow(), std::runtime_error);
  EXPECT_NO_THROW(first.rethrow());
}

}  // namespace first_exception_test
}  // namespace moe
