#include "moe/gating/prioritized.hpp"

#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

#include "gating/route.hpp"
#include "moe/routing/plan.hpp"

namespace moe {
namespace prioritized_test {

using Pairs = std::set<std::pair<Index, Index>>;  // token, expert

constexpr TopK top(Index k) { return {.k = k, .weights = ChoiceWeights::probabilities()}; }

/// Who has a slot where each expert has room for so many.
template <class G>
Pairs kept(const G& gate, const Matrix<double>& logits_TE, Index room) {
  Routing<double> routing = gating::route(gate, logits_TE);
  Plan<double> plan;
  plan.build(Batch<double>(logits_TE), routing, Capacity::exactly(room), false);
  Pairs pairs;
  for (const auto& c : routing.choices)
    if (c.fate == Fate::sent) pairs.insert({c.token, c.expert});
  return pairs;
}

// The example of V-MoE's tests: gates are unnormalised there, their order is all that counts.
TEST(Prioritized, BatchPriorityServesTheSurestTokensFirst) {
  Matrix<double> p(3, 3);
  p << .4, .01, .2, .5, .1, .4, .3, .2, .6;
  Routing<double> routing = gating::route(top(2), Matrix<double>(p.array().log()));
  for (auto& c : routing.choices) c.weight = p(c.token, c.expert);
  struct Given {
    std::vector<Choice<double>> choices;
    Matrix<double> p;
    void route(const Batch<double>&, Routing<double>& r, Random*) const {
      r.choices = choices;
      r.probabilities_TE = p;
    }
    void backward(const Routing<double>&, Routing<double>&) const {}
  };
  EXPECT_EQ(kept(Given{routing.choices, p}, p, 2), (Pairs{{0, 0}, {1, 0}, {2, 2}, {0, 2}}));
  EXPECT_EQ(kept(Prioritized{Given{routing.choices, p}, Priority::best_probability}, p, 2),
            (Pairs{{1, 0}, {0, 0}, {2, 2}, {1, 2}}));
}

// Token 0 has p = .4 .3 .3 and token 1 .5 .5 0: of two weights divided by their sum, token 0's first is the larger.
TEST(Prioritized, BatchPriorityComparesProbabilitiesWhateverTheWeights) {
  Matrix<double> p(2, 3);
  p << .4, .3, .3, .5, .5, 1e-9;
  for (const ChoiceWeights& weights : {ChoiceWeights::probabilities(), ChoiceWeights::renormalized()}) {
    const Prioritized<TopK> gate{{.k = 2, .weights = weights}};
    EXPECT_EQ(gating::tokens_of(gating::route(gate, Matrix<double>(p.array().log()))),
              (std::vector<Index>{1, 0, 1, 0}));
  }
}

// V-MoE's and Tutel's gates as the documents write them.
TEST(Prioritized, IsMadeFromAGateAlone) {
  const Prioritized v_moe{TopK{.k = 2, .weights = ChoiceWeights::probabilities()}};
  const Prioritized tutel{TopK{.k = 2, .weights = ChoiceWeights::renormalized({.epsilon = Epsilon::floor(1e-9)})}};
  EXPECT_EQ(v_moe.priority, Priority::best_probability);
  EXPECT_EQ(tutel.gate.k, 2);
}

// DeepSpeed's own test: four tokens, four experts, k = 2, room for two.
TEST(Prioritized, DropPoliciesOfDeepSpeed) {
  Matrix<double> z(4, 4);
  z << .11, .2, .1, .3, .3, .4, .11, .1, .11, .1, .6, .5, .1, .11, .7, .8;
  EXPECT_EQ(kept(Prioritized{top(2), Priority::weight}, z, 2),
            (Pairs{{0, 1}, {1, 0}, {1, 1}, {2, 2}, {2, 3}, {3, 2}, {3, 3}}));
  EXPECT_EQ(kept(Prioritized{top(2), Priority::token}, z, 2),
            (Pairs{{0, 1}, {0, 3}, {1, 0}, {1, 1}, {2, 2}, {2, 3}, {3, 2}}));
}

// The same with k = 3 of six experts: by probability (2026) and by logit (2025) others are kept.
TEST(Prioritized, DroppingByProbabilityIsNotDroppingByLogit) {
  Matrix<double> z(4, 6);
  z << .5858, .4801, .6269, .5397, .9722, .7034, .5445, .6332, .4519, .6308, .0519, .6450, .4874, .8110, .7467, .8474,
      .0277, .3068, .8570, .6714, .5310, .3274, .4836, .9892;
  EXPECT_EQ(kept(Prioritized{top(3), Priority::weight}, z, 2),
            (Pairs{{0, 2}, {0, 4}, {1, 1}, {1, 3}, {1, 5}, {2, 1}, {2, 2}, {2, 3}, {3, 0}, {3, 5}}));
  const Pairs by_logit{{0, 2}, {0, 4}, {0, 5}, {1, 3}, {2, 1}, {2, 2}, {2, 3}, {3, 0}, {3, 1}, {3, 5}};
  EXPECT_EQ(kept(Prioritized{top(3), Priority::logit}, z, 2), by_logit);
  EXPECT_EQ(kept(Prioritized<TopK>{top(3), Priority::logit_against_zero, Capacity::exactly(2)}, z, 2), by_logit);
}

TEST(Prioritized, ANegativeLogitLosesAgainstTokensThatDidNotChooseTheExpert) {
  const Matrix<double> z{{-1, -2}, {-2, -1}, {-2, -1}};
  const Prioritized<TopK> gate{top(1), Priority::logit_against_zero, Capacity::exactly(1)};
  EXPECT_EQ(kept(gate, z, 1), Pairs{});  // two and one other tokens fill the only place
}

TEST(Prioritized, WithoutAGeneratorTheRandomOrderIsTheGatesOwn) {
  const Matrix<double> z = Matrix<double>::Zero(3, 2);
  EXPECT_EQ(gating::tokens_of(gating::route(Prioritized{top(1), Priority::random}, z)), (std::vector<Index>{0, 1, 2}));
  Random draws = Random::recorded({.1, 0, .3, 0, .2, 0});
  EXPECT_EQ(gating::tokens_of(gating::route(Prioritized{top(1), Priority::random}, z, {}, 0, &draws)),
            (std::vector<Index>{1, 2, 0}));
}

}  // namespace prioritized_test
}  // namespace moe
