#include "moe/optim/schedule.hpp"

#include <gtest/gtest.h>

#include "support/expect_invalid.hpp"

namespace moe {
namespace schedule_test {

using support::expect_invalid;

TEST(Schedule, AConstantOneIsTheSameThroughout) {
  EXPECT_EQ(ConstantSchedule{0.25}.at(0), 0.25);
  EXPECT_EQ(ConstantSchedule{0.25}.at(1000000), 0.25);
}

TEST(Schedule, WarmUpIsLinearAndReachesThePeak) {
  const CosineSchedule schedule{.peak = 8, .total = 100, .warmup = 4};
  EXPECT_EQ(schedule.at(0), 2);
  EXPECT_EQ(schedule.at(1), 4);
  EXPECT_EQ(schedule.at(3), 8);
  EXPECT_EQ(schedule.at(4), 8);
}

TEST(Schedule, TheCosineEndsAtItsFloor) {
  const CosineSchedule schedule{.peak = 8, .total = 12, .warmup = 4, .floor = 2};
  EXPECT_NEAR(schedule.at(8), 5, 1e-15);  // half way
  EXPECT_NEAR(schedule.at(6), 2 + 6 * (1 + std::sqrt(0.5)) / 2, 1e-14);
  EXPECT_EQ(schedule.at(12), 2);
  EXPECT_EQ(schedule.at(1000), 2);
}

TEST(Schedule, NoWarmUpStartsAtThePeak) { EXPECT_EQ((CosineSchedule{.peak = 8, .total = 10}.at(0)), 8); }

TEST(Schedule, AStableOneDecaysAtItsEnd) {
  StableSchedule schedule{.peak = 8, .total = 20, .warmup = 4, .decay = 4, .floor = 2};
  EXPECT_EQ(schedule.at(1), 4);
  EXPECT_EQ(schedule.at(3), 8);
  EXPECT_EQ(schedule.at(15), 8);
  EXPECT_EQ(schedule.at(16), 8);
  EXPECT_EQ(schedule.at(17), 6.5);
  EXPECT_EQ(schedule.at(20), 2);
  EXPECT_EQ(schedule.at(99), 2);
  schedule.shape = StableSchedule::Decay::root;
  EXPECT_EQ(schedule.at(17), 5);
  EXPECT_EQ((StableSchedule{.peak = 8, .total = 20}.at(19)), 8);
  EXPECT_EQ((StableSchedule{.peak = 8, .total = 20}.at(20)), 0);
}

TEST(Schedule, SettingsThatDoNotFitAreRefused) {
  expect_invalid([] { (StableSchedule{.peak = 1, .total = 4, .warmup = 3, .decay = 2}.at(0)); },
                 {"3 steps", "2 of decay"});
  expect_invalid([] { (StableSchedule{.peak = 1, .total = 4, .decay = -1}.at(0)); }, {"-1 of decay"});
  expect_invalid([] { (StableSchedule{.peak = 1, .total = 4, .floor = -1}.at(0)); }, {"floor -1"});
  expect_invalid([] { (CosineSchedule{.peak = 1, .total = 4, .warmup = 4}.at(0)); }, {"4 steps of warm-up of 4"});
  expect_invalid([] { (CosineSchedule{.peak = 1, .total = 4, .warmup = -1}.at(0)); }, {"-1 steps"});
  expect_invalid([] { (CosineSchedule{.peak = 1, .total = 4, .floor = 2}.at(0)); }, {"floor 2"});
}

}  // namespace schedule_test
}  // namespace moe
