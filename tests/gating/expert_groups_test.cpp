#include "moe/gating/expert_groups.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/matrices.hpp"

namespace moe {
namespace expert_groups_test {

/// Which of four experts in two groups keep a finite key.
std::vector<bool> kept(Vector<double> key_E, Index counted, bool biased) {
  Vector<double> total;
  std::vector<Index> indices(4);
  detail::mask_groups(key_E, 2, 1, counted, biased, total, indices);
  std::vector<bool> finite;
  for (const double key : key_E) finite.push_back(std::isfinite(key));
  return finite;
}

const std::vector<bool> first{true, true, false, false}, second{false, false, true, true};

// The first group has the best expert, the second the best pair.
TEST(ExpertGroups, AreComparedByTheirBestOrByTheirBestTwo) {
  EXPECT_EQ(kept(Vector<double>{{3, -3, 2, 2}}, 1, true), first);
  EXPECT_EQ(kept(Vector<double>{{3, -3, 2, 2}}, 2, true), second);
}

// 0.5 + 0.1 against 0.35 + 0.35, as logarithms.
TEST(ExpertGroups, LogarithmsStandForTheirScores) {
  const Vector<double> scores{{0.5, 0.1, 0.35, 0.35}};
  EXPECT_EQ(kept(scores.array().log(), 1, false), first);
  EXPECT_EQ(kept(scores.array().log(), 2, false), second);
}

TEST(ExpertGroups, AMaskedExpertOfTheBestGroupStaysAboveTheOtherGroups) {
  EXPECT_EQ(kept(Vector<double>{{1, 1, -support::infinity_of<double>, 9}}, 1, true), second);
}

}  // namespace expert_groups_test
}  // namespace moe
