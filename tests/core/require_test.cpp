#include "moe/core/require.hpp"

#include <gtest/gtest.h>

#include <string>

#include "support/expect_invalid.hpp"

namespace moe {
namespace require_test {

using support::expect_invalid;

TEST(Require, RequireLetsATrueConditionPass) { EXPECT_NO_THROW(require(true, "nothing ", 1)); }

TEST(Require, RequireThrowsTextAndNumbersInOrder) {
  const std::string text = "rows";
  expect_invalid([&] { require(false, Index{-3}, " ", text, ", ", 2u, " wanted"); }, {"moe: -3 rows, 2 wanted"});
}

}  // namespace require_test
}  // namespace moe
