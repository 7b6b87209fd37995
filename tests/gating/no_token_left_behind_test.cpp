#include "moe/gating/no_token_left_behind.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "gating/route.hpp"
#include "moe/plan.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace no_token_left_behind_test {

// All prefer expert 0; the second best is 1 for tokens 0 and 1, 2 for token 2.
const Matrix<double> logits_TE{{3, 2, 1}, {3, 2, 1}, {3, 1, 2}};

TEST(NoTokenLeftBehind, TheOverflowGoesToTheNextBestWithRoom) {
  const NoTokenLeftBehind gate{.capacity = Capacity::exactly(1)};
  Routing<double> routing = gating::route(gate, logits_TE);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 1, 2}));
  EXPECT_EQ(routing.choices[1].weight, routing.probabilities_TE(1, 1));
  Plan<double> plan;
  plan.build(Batch<double>(logits_TE), routing, gate.capacity, false);
  EXPECT_TRUE(plan.dropped_choices.empty());
}

TEST(NoTokenLeftBehind, WhereNoExpertIsLeftTheChoiceIsDropped) {
  const NoTokenLeftBehind gate{.top_k = {.k = 2, .weights = ChoiceWeights::probabilities},
                               .capacity = Capacity::exactly(1)};
  Routing<double> routing = gating::route(gate, logits_TE);
  Plan<double> plan;
  plan.build(Batch<double>(logits_TE), routing, gate.capacity, false);
  EXPECT_EQ(plan.slots(), 3);
  EXPECT_EQ(plan.dropped_choices.size(), 3u);
}

TEST(NoTokenLeftBehind, NormalisedWeightsAreRefused) {
  support::expect_invalid([] { NoTokenLeftBehind{.top_k = {.k = 2}}.check(3); }, {"probabilities"});
}

}  // namespace no_token_left_behind_test
}  // namespace moe
