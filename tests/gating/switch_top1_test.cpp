#include "moe/gating/switch_top1.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gating/route.hpp"

namespace moe {
namespace switch_top1_test {

TEST(SwitchTop1, TheBestExpertHasItsProbabilityAsWeight) {
  const auto routing = gating::route(switch_top1(), Matrix<double>{{std::log(1.0), std::log(3.0)}});
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{1}));
  EXPECT_NEAR(gating::weights_of(routing)[0], 0.75, 1e-15);
}

TEST(SwitchTop1, IsAcceptedForAnyNumberOfExperts) {
  for (const Index experts : {1, 2, 64}) EXPECT_NO_THROW(switch_top1().check(experts));
}

}  // namespace switch_top1_test
}  // namespace moe
