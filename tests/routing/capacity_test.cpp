#include "moe/routing/capacity.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "support/expect_invalid.hpp"

namespace moe {
namespace capacity_test {

using support::expect_invalid;

TEST(Capacity, AFactorIsOfTheEvenShareRoundedUp) {
  EXPECT_EQ(Capacity::factor(1).slots(10, 10, 4, true), 3);    // ceil(2.5)
  EXPECT_EQ(Capacity::factor(1.25).slots(8, 16, 4, true), 5);  // 5 exactly
  EXPECT_EQ(Capacity::factor(0.1).slots(16, 16, 4, true), 1);  // ceil(0.4)
}

TEST(Capacity, StaysARepresentableNumber) {
  EXPECT_EQ(Capacity::unlimited().slots(7, 7, 2, true), 7);
  EXPECT_EQ(Capacity::exactly(100).slots(7, 7, 2, true), 100);
  EXPECT_GT(Capacity::factor(1e300).slots(7, 7, 2, true), 1000000);
}

TEST(Capacity, MayBeAnotherForInference) {
  const Capacity capacity = Capacity::exactly(1).at_inference(Capacity::exactly(3));
  EXPECT_EQ(capacity.slots(10, 10, 2, true), 1);
  EXPECT_EQ(capacity.slots(10, 10, 2, false), 3);
}

TEST(Capacity, IsTheSameForInferenceUnlessSaidOtherwise) { EXPECT_EQ(Capacity::exactly(2).slots(10, 10, 2, false), 2); }

TEST(Capacity, AFactorThatIsNotPositiveAndFiniteIsRefused) {
  expect_invalid([] { Capacity::factor(0); }, {"Capacity: the factor", "is 0"});
  expect_invalid([] { Capacity::factor(-1.5); }, {"is -1.5"});
  expect_invalid([] { Capacity::factor(std::numeric_limits<double>::infinity()); }, {"is inf"});
  expect_invalid([] { Capacity::factor(std::numeric_limits<double>::quiet_NaN()); }, {"nan"});
}

TEST(Capacity, ANegativeNumberOfSlotsIsRefused) {
  expect_invalid([] { Capacity::exactly(-1); }, {"Capacity::exactly", "-1 slots"});
}

// 100 tokens, 8 experts, k = 2, factor 1.25: T / E = 12.5, T k / E = 25.
TEST(Capacity, OneFactorIsManyNumbers) {
  const auto slots = [](const Capacity& capacity) { return capacity.slots(100, 200, 8, true); };
  EXPECT_EQ(slots(Capacity::factor(1.25)), 32);           // ceil(31.25)
  EXPECT_EQ(slots(Capacity::gshard(1.25)), 16);           // floor(15.625), up to a multiple of 4
  EXPECT_EQ(slots(Capacity::mesh(1.25)), 15);             // floor(15.625)
  EXPECT_EQ(slots(Capacity::flaxformer(1.25)), 16);       // round(15.625)
  EXPECT_EQ(slots(Capacity::v_moe(1.25)), 32);            // ceil(31.25), a multiple of 4 already
  EXPECT_EQ(slots(Capacity::deepspeed(1.25)), 32);        // ceil(31.25)
  EXPECT_EQ(slots(Capacity::megablocks(1.25)), 31);       // floor(31.25)
  EXPECT_EQ(slots(Capacity::tutel(1.25)), 32);            // 2 floor(1.25 * 13)
  EXPECT_EQ(slots(Capacity::tutel(1.25, 5)), 35);         // up to a multiple of 5
  EXPECT_EQ(slots(Capacity::fairseq()), 26);              // 2 ceil(12.5)
  EXPECT_EQ(slots(Capacity::fastmoe(1.25)), 31);          // floor(2 * 125 / 8)
  EXPECT_EQ(slots(Capacity::fastmoe_switch(1.25)), 16);   // ceil(15.625)
  EXPECT_EQ(slots(Capacity::share_of_tokens(0.25)), 25);  // of 100
}

TEST(Capacity, MinimaAndMultiples) {
  EXPECT_EQ(Capacity::v_moe(1).slots(32, 64, 32, true), 4);      // ceil(2), up to 4
  EXPECT_EQ(Capacity::gshard(1).slots(2, 4, 8, true), 4);        // floor(0.25) = 0, at least 4
  EXPECT_EQ(Capacity::mesh(1).slots(1, 2, 3, true), 4);          // at least 4, also of one token
  EXPECT_EQ(Capacity::mesh(100, 0).slots(10, 20, 4, true), 10);  // never more than the tokens
  EXPECT_EQ(Capacity::flaxformer(1).slots(20, 20, 8, true), 4);  // round(2.5) = 2, at least 4
  EXPECT_EQ(Capacity::deepspeed(1, 1).slots(4, 4, 8, true), 1);  // ceil(0.5)
}

// 1.1 * 100 / 10 is 11.000000000000002 in double, 100 / 10 * 1.1 is 11.
TEST(Capacity, DividesBeforeItMultiplies) { EXPECT_EQ(Capacity::factor(1.1).slots(50, 100, 10, true), 11); }

TEST(Capacity, FormulasThatMakeNoSenseAreRefused) {
  expect_invalid([] { Capacity::formula({.factor = 1, .minimum = -1}); }, {"minimum -1"});
  expect_invalid([] { Capacity::v_moe(1, 0); }, {"multiple 0"});
}

// What torch gives for ceil((T / E) * tensor(factor k)): 2.4 is more than itself in float, 2.1 less.
TEST(Capacity, DeepSpeedComputesInFloat) {
  EXPECT_EQ(Capacity::deepspeed(1.2).slots(25, 50, 4, true), 16);  // 15 exactly
  EXPECT_EQ(Capacity::factor(1.2).slots(25, 50, 4, true), 15);
  EXPECT_EQ(Capacity::deepspeed(1.05).slots(20, 40, 6, true), 7);  // 7 exactly; 8 in double
  EXPECT_EQ(Capacity::deepspeed(1.2).slots(35, 35, 6, true), 8);   // k = 1
  EXPECT_EQ(Capacity::deepspeed(1.2).slots(0, 0, 4, true), 4);
}

TEST(Capacity, SaysInWordsWhatItIs) {
  EXPECT_EQ(Capacity::unlimited().text(), "unlimited");
  EXPECT_EQ(Capacity::exactly(2).text(), "exactly 2 slots");
  EXPECT_EQ(Capacity::factor(1.25).text(), "factor 1.25");
  EXPECT_EQ(Capacity::factor(1.25).at_inference(Capacity::factor(2)).text(), "factor 1.25, at inference factor 2");
  EXPECT_EQ(Capacity::v_moe(1.5).text(), "factor 1.5 (a multiple of 4)");
  EXPECT_EQ(Capacity::mesh(1).text(), "factor 1 (whatever k, rounded down, at most all tokens, at least 4 slots)");
  EXPECT_EQ(Capacity::share_of_tokens(0.25).text(), "factor 0.25 (of all tokens)");
}

}  // namespace capacity_test
}  // namespace moe
