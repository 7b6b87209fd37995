#include "moe/report/part_lines.hpp"

#include <gtest/gtest.h>

#include <string>

#include "moe/expert/linear.hpp"
#include "moe/expert/zero_computation.hpp"
#include "moe/report/summary.hpp"

namespace moe {
namespace part_lines_test {

using detail::PartLines;

TEST(PartLines, MatricesStandBehindTheirOwner) {
  PartLines parts("  ");
  parts("weight", Matrix<float>(3, 4));
  parts("bias", Vector<double>(3));
  parts("empty", Vector<float>(0));
  EXPECT_EQ(parts.own, ", weight 3 x 4, bias 3");
  EXPECT_EQ(parts.totals.parameters, 15);
  EXPECT_EQ(parts.totals.bytes, 4 * 12 + 8 * 3);
  EXPECT_EQ(parts.lines(), "");
}

TEST(PartLines, EqualNeighboursInAListShareALine) {
  const Linear<float> one{Matrix<float>(2, 3), Vector<float>()}, other{Matrix<float>(3, 3), Vector<float>()};
  PartLines parts("  ");
  parts.part("router", one);
  parts.part("experts.0", one);
  parts.part("experts.1", one);
  parts.part("experts.2", other);
  parts.part("blocks.0", other);
  parts.part("gate", ZeroExpert<float>{});
  EXPECT_EQ(parts.lines(),
            "  router Linear<float>, weight 2 x 3: 6 parameters (24 bytes)\n"
            "  experts 0 to 1, each Linear<float>, weight 2 x 3: 6 parameters (24 bytes)\n"
            "  experts 2 Linear<float>, weight 3 x 3: 9 parameters (36 bytes)\n"
            "  blocks 0 Linear<float>, weight 3 x 3: 9 parameters (36 bytes)\n"
            "  gate ZeroExpert<float>\n");
  EXPECT_EQ(parts.totals.parameters, 3 * 6 + 2 * 9);
}

}  // namespace part_lines_test
}  // namespace moe
