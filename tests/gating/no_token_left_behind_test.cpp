#include "moe/gating/no_token_left_behind.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "gating/route.hpp"
#include "moe/core/random.hpp"
#include "moe/routing/plan.hpp"
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
  const NoTokenLeftBehind gate{.top_k = {.k = 2, .weights = ChoiceWeights::probabilities()},
                               .capacity = Capacity::exactly(1)};
  Routing<double> routing = gating::route(gate, logits_TE);
  Plan<double> plan;
  plan.build(Batch<double>(logits_TE), routing, gate.capacity, false);
  EXPECT_EQ(plan.slots(), 3);
  EXPECT_EQ(plan.dropped_choices.size(), 3u);
}

// Tokens 0 and 1 want expert 0, then 1; token 2 wants expert 1: token 1 must not take its place.
TEST(NoTokenLeftBehind, FirstChoicesAreServedBeforeTheOverflow) {
  const NoTokenLeftBehind gate{.capacity = Capacity::exactly(1)};
  const Matrix<double> logits{{3, 2, 1}, {3, 2, 1}, {1, 3, 2}};
  EXPECT_EQ(gating::experts_of(gating::route(gate, logits)), (std::vector<Index>{0, 2, 1}));
}

TEST(NoTokenLeftBehind, AttemptsAreLimited) {
  NoTokenLeftBehind gate{.capacity = Capacity::exactly(1), .attempts = 2};
  const Matrix<double> logits{{3, 2, 1}, {3, 2, 1}, {3, 2, 1}};
  EXPECT_EQ(gating::experts_of(gating::route(gate, logits)), (std::vector<Index>{0, 1, 0}));
  gate.attempts = 3;
  EXPECT_EQ(gating::experts_of(gating::route(gate, logits)), (std::vector<Index>{0, 1, 2}));
  gate.attempts = -1;
  support::expect_invalid([&] { gate.check(3); }, {"attempts is -1"});
}

/// Round by round, over a matrix of who still looks for a place (as Mesh TensorFlow computes it).
TEST(NoTokenLeftBehind, AgreesWithRoundsOverAllTokens) {
  constexpr Index tokens = 60, experts = 7, slots = 9, group = 30;
  std::mt19937_64 rng(2);
  const auto logits = random_matrix<double>(tokens, experts, rng);
  const NoTokenLeftBehind gate{.capacity = Capacity::exactly(slots / 2), .attempts = 4};
  const auto routing = gating::route(gate, logits, {}, group);
  for (Index begin = 0; begin < tokens; begin += group) {
    std::vector<Index> expected(group, -1), taken(experts, 0);
    for (std::size_t round = 0; round < 4; ++round)
      for (Index t = 0; t < group; ++t) {
        std::vector<std::pair<double, Index>> best;
        for (Index e = 0; e < experts; ++e) best.emplace_back(-logits(begin + t, e), e);
        std::sort(best.begin(), best.end());
        const Index e = best[round].second;
        if (expected[static_cast<std::size_t>(t)] >= 0 || taken[static_cast<std::size_t>(e)] == slots / 2) continue;
        expected[static_cast<std::size_t>(t)] = e;
        ++taken[static_cast<std::size_t>(e)];
      }
    auto routed = routing;
    Plan<double> plan;
    Batch<double> batch(logits);
    batch.group_size = group;
    plan.build(batch, routed, gate.capacity, false);
    for (Index t = 0; t < group; ++t) {
      const auto& choice = routed.choices[static_cast<std::size_t>(begin + t)];
      EXPECT_EQ(choice.fate == Fate::sent ? choice.expert : -1, expected[static_cast<std::size_t>(t)]);
    }
  }
}

/// Both of a token's choices look for a place at once: they must not find the same.
TEST(NoTokenLeftBehind, ATokenNeverHasAnExpertTwice) {
  const NoTokenLeftBehind gate{.top_k = {.k = 2, .weights = ChoiceWeights::probabilities()},
                               .capacity = Capacity::exactly(1)};
  const Matrix<double> logits{{4, 3, 2, 1}, {4, 3, 2, 1}};
  EXPECT_EQ(gating::experts_of(gating::route(gate, logits)), (std::vector<Index>{0, 2, 1, 3}));
}

TEST(NoTokenLeftBehind, RoomGrowsWithTheChoicesAndNotTimesTheExperts) {
  constexpr Index tokens = 50, experts = 40;
  for (const auto& capacity : {Capacity::unlimited(), Capacity::exactly(0)}) {
    const auto routing =
        gating::route(NoTokenLeftBehind{.capacity = capacity}, Matrix<double>(Matrix<double>::Zero(tokens, experts)));
    EXPECT_LE(routing.workspace.indices.capacity(), static_cast<std::size_t>(1 + experts + 2 * tokens));
  }
}

TEST(NoTokenLeftBehind, NormalisedWeightsAreRefused) {
  support::expect_invalid([] { NoTokenLeftBehind{.top_k = {.k = 2}}.check(3); }, {"probabilities"});
}

}  // namespace no_token_left_behind_test
}  // namespace moe
