#include "moe/optim/frozen.hpp"

#include <gtest/gtest.h>

#include "optim/toy.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace {

TEST(Frozen, NothingIsFrozenByDefault) { EXPECT_FALSE(Frozen().contains("router.weight")); }

TEST(Frozen, APartFreezesItsParameters) {
  const Frozen frozen{"experts"};
  EXPECT_TRUE(frozen.contains("experts.0.w1"));
  EXPECT_TRUE(frozen.contains("experts"));
  EXPECT_FALSE(frozen.contains("router.weight"));
}

TEST(Frozen, ANameEndsAtADot) {
  const Frozen frozen{"experts.1"};
  EXPECT_TRUE(frozen.contains("experts.1.w1"));
  EXPECT_FALSE(frozen.contains("experts.10.w1"));
  EXPECT_FALSE(frozen.contains("experts"));
}

TEST(Frozen, SeveralNamesFreezeEach) {
  const Frozen frozen{"router", "experts.2.b1"};
  EXPECT_TRUE(frozen.contains("router.bias"));
  EXPECT_TRUE(frozen.contains("experts.2.b1"));
  EXPECT_FALSE(frozen.contains("experts.2.w1"));
}

TEST(Frozen, ANameThatTheModelDoesNotHaveIsRefused) {
  EXPECT_NO_THROW((Frozen{"weight", "bias"}.check(optim::Toy())));
  support::expect_invalid([] { Frozen{"wieght"}.check(optim::Toy()); }, {"'wieght'"});
}

}  // namespace
}  // namespace moe
