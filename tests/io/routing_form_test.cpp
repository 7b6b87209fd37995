#include "moe/io/routing_form.hpp"

#include <gtest/gtest.h>

#include <string>

namespace routing_form_test {

using moe::ChoiceWeights;
using moe::Epsilon;
using moe::ScoredTopK;
using moe::Scores;
using moe::TopK;
using moe::detail::RoutingForm;

std::string difference(const moe::io::FamilyGate& a, const moe::io::FamilyGate& b) {
  const std::string one(RoutingForm::of(a).difference(RoutingForm::of(b)));
  EXPECT_EQ(one, RoutingForm::of(b).difference(RoutingForm::of(a)));
  return one;
}

TEST(RoutingForm, GatesThatChooseAlikeAreAlike) {
  const TopK divided{.k = 2, .weights = ChoiceWeights::renormalized()};
  EXPECT_EQ(difference(divided, TopK{.k = 2, .weights = ChoiceWeights::softmax_of_chosen()}), "");
  EXPECT_EQ(difference(divided, ScoredTopK{.k = 2, .scores = Scores::softmax()}), "");
  EXPECT_EQ(difference(TopK{.k = 2, .weights = ChoiceWeights::probabilities()},
                       ScoredTopK{.k = 2, .scores = Scores::softmax({.normalize = false})}),
            "");
  EXPECT_EQ(difference(TopK{.k = 1, .weights = ChoiceWeights::sigmoid()},
                       ScoredTopK{.k = 1, .scores = Scores::sigmoid({.normalize = false})}),
            "");
  EXPECT_EQ(difference(ScoredTopK{.k = 2, .groups = 4, .groups_used = 4}, ScoredTopK{.k = 2}), "");
  EXPECT_EQ(difference(ScoredTopK{.scores = Scores::sigmoid()},
                       ScoredTopK{.scores = Scores::sigmoid({.epsilon = Epsilon::floor(6.1035e-5)})}),
            "");
}

TEST(RoutingForm, DifferencesAreNamed) {
  const ScoredTopK gate{.k = 2, .groups = 4, .groups_used = 2};
  const auto with = [&](auto change) {
    ScoredTopK other = gate;
    change(other);
    return difference(gate, other);
  };
  EXPECT_EQ(with([](ScoredTopK&) {}), "");
  EXPECT_EQ(with([](ScoredTopK& g) { g.k = 3; }), "the number of choices");
  EXPECT_EQ(with([](ScoredTopK& g) { g.scores = Scores::softmax(); }), "the scores of experts");
  EXPECT_EQ(with([](ScoredTopK& g) { g.scores = Scores::sigmoid({.normalize = false}); }),
            "whether weights are divided by their sum");
  EXPECT_EQ(with([](ScoredTopK& g) { g.scores = Scores::sigmoid({.scale = 2}); }), "the scale of weights");
  EXPECT_EQ(with([](ScoredTopK& g) { g.scores = Scores::sigmoid({.epsilon = 0.1}); }),
            "the least sum that divides weights");
  EXPECT_EQ(with([](ScoredTopK& g) {
              g.bias_on = ScoredTopK::BiasOn::logits;
              g.selection_bias_E.setOnes(4);
            }),
            "what the selection bias is added to");
  EXPECT_EQ(with([](ScoredTopK& g) { g.groups_used = 1; }), "the groups of experts");
  EXPECT_EQ(with([](ScoredTopK& g) { g.group_score = ScoredTopK::GroupScore::best; }),
            "the score of a group of experts");
  EXPECT_EQ(difference(ScoredTopK{.k = 4}, ScoredTopK{.k = 4, .groups = 2, .groups_used = 2, .from_each_group = true}),
            "the groups of experts");
  EXPECT_EQ(difference(TopK{.weights = ChoiceWeights::renormalized()},
                       TopK{.weights = ChoiceWeights::renormalized({.norm = 2})}),
            "the p-norm that divides weights");
  EXPECT_EQ(difference(TopK{}, moe::SparseMixer{}), "the scores of experts");
  EXPECT_EQ(difference(TopK{}, TopK{.weights = ChoiceWeights::uniform()}), "the scores of experts");
  EXPECT_EQ(difference(moe::SparseMixer{}, moe::SparseMixer{.band = 0.5}), "the band or midpoint of SparseMixer");
}

}  // namespace routing_form_test
