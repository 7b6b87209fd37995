#include "moe/core/types.hpp"

#include <gtest/gtest.h>

namespace moe {
namespace types_test {

TEST(Types, AMatrixIsRowMajor) {
  Matrix<int> m(2, 3);
  m << 1, 2, 3, 4, 5, 6;
  EXPECT_EQ(m.data()[1], 2);
  EXPECT_EQ(m.data()[3], 4);
}

}  // namespace types_test
}  // namespace moe
