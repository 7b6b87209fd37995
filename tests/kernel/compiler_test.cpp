#include "moe/kernel/compiler.hpp"

#include <gtest/gtest.h>

namespace moe {
namespace compiler_test {

// Hints change nothing, not even where the address that is prefetched does not exist.
TEST(CompilerHints, ChangeNothing) {
  float values[4] = {1, 2, 3, 4};
  MOE_DETAIL_PREFETCH(values, sizeof(values) * 1000000u);
  MOE_DETAIL_PREFETCH_FAR(values, sizeof(values) * 1000000u);
  MOE_DETAIL_PREFETCH_FOR_WRITING(values);
  float sum = 0;
  MOE_DETAIL_UNROLL
  for (int i = 0; i < 4; ++i) sum += values[i];
  EXPECT_EQ(sum, 10);
}

}  // namespace compiler_test
}  // namespace moe
