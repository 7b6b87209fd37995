#include "moe/gating/optional_choices.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gating/route.hpp"
#include "moe/routing/plan.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace optional_choices_test {

using Send = OptionalChoices::Send;

// p = 2/3 and 1/3 for token 0, 1/2 and 1/2 for token 1.
const Matrix<double> logits_TE{{std::log(2.), 0}, {0, 0}};

std::vector<bool> sent(const OptionalChoices& gate, Random* random = nullptr) {
  std::vector<bool> fates;
  for (const auto& c : gating::route(gate, logits_TE, {}, 0, random).choices) fates.push_back(c.fate == Fate::sent);
  return fates;
}

TEST(OptionalChoices, TheSecondExpertIsSentWithTwiceItsWeightAsProbability) {
  Random below = Random::recorded({.66, .99});  // 2 g = 2/3 and 1
  EXPECT_EQ(sent(gshard_top2(), &below), (std::vector<bool>{true, true, true, true}));
  Random above = Random::recorded({.67, .99});
  EXPECT_EQ(sent(gshard_top2(), &above), (std::vector<bool>{true, true, false, true}));
}

TEST(OptionalChoices, WithoutAGeneratorItIsAlwaysSent) {
  EXPECT_EQ(sent(gshard_top2()), (std::vector<bool>{true, true, true, true}));
}

TEST(OptionalChoices, AboveAThresholdOrNever) {
  EXPECT_EQ(sent({.send = Send::above_threshold, .threshold = .4}), (std::vector<bool>{true, true, false, true}));
  EXPECT_EQ(sent({.send = Send::never}), (std::vector<bool>{true, true, false, false}));
}

TEST(OptionalChoices, AnUnsentChoiceTakesNoRoomAndLeavesTheFirstItsWeight) {
  Routing<double> routing = gating::route(OptionalChoices{.send = Send::never}, logits_TE);
  Plan<double> plan;
  plan.build(Batch<double>(logits_TE), routing, Capacity::exactly(2), true);
  EXPECT_EQ(plan.slots(), 2);
  EXPECT_EQ(plan.unsent, 2);
  EXPECT_TRUE(plan.dropped_choices.empty());
  EXPECT_NEAR(plan.weight[0], 2. / 3, 1e-15);
}

TEST(OptionalChoices, AThresholdOutOfRangeIsRefused) {
  support::expect_invalid([] { OptionalChoices{.threshold = 2}.check(4); }, {"threshold is 2"});
}

TEST(OptionalChoices, SaysHowManyChoicesMayBeSent) {
  EXPECT_EQ((OptionalChoices{.send = Send::never}.most_choices(4)), 1);
  EXPECT_EQ((OptionalChoices{.send = Send::above_threshold, .threshold = 0.5}.most_choices(4)), 1);
  EXPECT_EQ((OptionalChoices{.send = Send::above_threshold, .threshold = 0.4}.most_choices(4)), 2);
  const TopK squares{.k = 2, .weights = ChoiceWeights::renormalized({.norm = 2})};  // two weights of 0.7
  EXPECT_EQ((OptionalChoices{.top_k = squares, .send = Send::above_threshold, .threshold = 0.6}.most_choices(4)), 2);
}

}  // namespace optional_choices_test
}  // namespace moe
