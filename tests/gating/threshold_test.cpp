#include "moe/gating/threshold.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "gating/route.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace threshold_test {

const Matrix<double> logits_TE{{1, -1, 2}, {-3, -1, -2}, {0, 0, 0}};

TEST(Threshold, AllAboveItAndElseTheBest) {
  const auto routing = gating::route(Threshold{}, logits_TE);  // sigmoid(0) is not above 1 / 2
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0, 0, 1, 2}));
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 2, 1, 0}));
  EXPECT_EQ(routing.choices[0].rank, 1);  // token 0 is surer of expert 2
  EXPECT_EQ(routing.choices[1].rank, 0);
}

TEST(Threshold, NoneIfThatIsWanted) {
  EXPECT_EQ(gating::tokens_of(gating::route(Threshold{.at_least_one = false}, logits_TE)), (std::vector<Index>{0, 0}));
}

TEST(Threshold, AThresholdOfOneIsRefused) {
  support::expect_invalid([] { Threshold{.threshold = 1}.check(3); }, {"threshold is 1"});
}

}  // namespace threshold_test
}  // namespace moe
