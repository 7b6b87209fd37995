#include "moe/gating/replay.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "gating/route.hpp"
#include "moe/expert/linear.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/switch_top1.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/router/router.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace replay_test {

using support::expect_invalid;

const Matrix<float> logits_TE{{1, 2, 3}, {3, 1, 2}};

TEST(Replay, ARecordedPassIsRepeatedToTheBit) {
  const auto recorded = gating::route(TopK{.k = 2}, logits_TE);
  const Matrix<float> other_TE = -logits_TE;
  const auto replayed = gating::route(Replay<float>::recorded(recorded), other_TE);
  EXPECT_EQ(gating::experts_of(replayed), gating::experts_of(recorded));
  EXPECT_EQ(gating::weights_of(replayed), gating::weights_of(recorded));
}

TEST(Replay, WeightsMayComeFromTheNewLogits) {
  const auto recorded = gating::route(TopK{.k = 2}, logits_TE);
  const Matrix<float> other_TE = -logits_TE;
  const auto replayed = gating::route(Replay<float>::recorded(recorded, ChoiceWeights::softmax_of_chosen()), other_TE);
  EXPECT_EQ(gating::experts_of(replayed), gating::experts_of(recorded));
  EXPECT_LT(replayed.choices[0].weight, .5f);  // the best then is the worse now
}

TEST(Replay, UniformRoutingIsEven) {
  const auto routing = gating::route(Replay<float>::uniform(2, 3, 3), logits_TE);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 0, 1, 1, 2, 2}));
}

TEST(Replay, ChoicesThatCannotBeAreRefused) {
  const auto route = [](Choice<float> a, Choice<float> b, std::vector<std::uint8_t> valid = {}) {
    gating::route(Replay<float>{{a, b}}, logits_TE, valid);
  };
  expect_invalid([&] { route({0, 3, 1}, {1, 0, 1}); }, {"token 0", "expert 3 of 3"});
  expect_invalid([&] { route({0, -1, 1}, {1, 0, 1}); }, {"expert -1"});
  expect_invalid([&] { route({2, 0, 1}, {1, 0, 1}); }, {"token 2 of 2"});
  expect_invalid([&] { route({1, 0, 1}, {1, 0, 1}); }, {"token 1", "twice"});
  expect_invalid([&] { route({0, 0, 1}, {1, 0, 1}, {0, 1}); }, {"token 0 is padding"});
  expect_invalid([] { Replay<float>::uniform(2, 3, 4); }, {"k is 4"});
}

TEST(Replay, ARecordOfAnotherNumberOfTokensIsRefused) {
  const Matrix<float> eight_TE = Matrix<float>::Zero(8, 3), eleven_TE = Matrix<float>::Zero(11, 3);
  const auto recorded = gating::route(TopK{.k = 2}, eight_TE);
  for (const auto& replay :
       {Replay<float>::recorded(recorded), Replay<float>::recorded(recorded, ChoiceWeights::softmax_of_chosen()),
        Replay<float>::uniform(8, 3, 2)}) {
    EXPECT_NO_THROW(gating::route(replay, eight_TE));
    for (const Index tokens : {7, 11})
      expect_invalid([&] { gating::route(replay, Matrix<float>(eleven_TE.topRows(tokens))); },
                     {"record is of 8 tokens", "batch has " + std::to_string(tokens)});
  }
  EXPECT_NO_THROW(gating::route(Replay<float>{recorded.choices}, eleven_TE));  // made by hand
}

TEST(Replay, TokensThatTheLayerTakesForPaddingAreLeftOut) {
  DispatchOptions options;
  options.non_finite = NonFinite::zero_row;
  const Matrix<float> weight = Matrix<float>::Ones(1, 1);
  const std::vector<Linear<float>> experts{{weight}, {2 * weight}};
  for (const bool reweigh : {false, true}) {
    auto replay = Replay<float>::uniform(3, 2, 2);
    if (reweigh) replay.weights = ChoiceWeights::softmax_of_chosen();
    const Layer layer{Router<float>::zeros(2, 1), replay, experts, options};
    const Matrix<float> x_TD{{1}, {support::nan_of<float>}, {2}};
    EXPECT_EQ(layer.forward(x_TD), (Matrix<float>{{1.5f}, {0}, {3}}));
  }
}

/// Indices recorded, weights anew: what the same gate would give for the same logits.
TEST(Replay, WeightsThatAreAlwaysOneAreRefused) {
  const Matrix<float> logits{{1, 0}, {0, 1}};
  auto replay = Replay<float>::recorded(gating::route(switch_top1(), logits), ChoiceWeights::softmax_of_chosen());
  expect_invalid([&] { replay.check(2); }, {"no token has more than one choice", "ChoiceWeights::probabilities()"});
  replay.weights = ChoiceWeights::renormalized({.allow_constant = true});
  EXPECT_NO_THROW(replay.check(2));
  replay.weights = ChoiceWeights::probabilities();
  EXPECT_NO_THROW(replay.check(2));
  EXPECT_NO_THROW(
      Replay<float>::recorded(gating::route(switch_top1(), logits)).check(2));  // constants, and meant to be
}

// A gate that could have made more choices may have made one for each token of this batch.
TEST(Replay, ARecordOfADifferingNumberMayHaveOneChoiceAToken) {
  Routing<float> routing = gating::route(switch_top1(), Matrix<float>{{1, 0}, {0, 1}});
  routing.choices_per_token = 0;
  EXPECT_NO_THROW(Replay<float>::recorded(routing, ChoiceWeights::softmax_of_chosen()).check(2));
}

TEST(Replay, ScoresMayWeigh) {
  const ScoredTopK gate{.k = 2, .scores = Scores::sigmoid({.epsilon = .1, .scale = 2.5})};
  const auto recorded = gating::route(gate, logits_TE);
  const auto replay = Replay<float>::recorded(recorded, gate.scores);
  const auto replayed = gating::route(replay, logits_TE);
  EXPECT_EQ(gating::weights_of(replayed), gating::weights_of(recorded));
  EXPECT_EQ(replayed.probabilities_TE, recorded.probabilities_TE);
}

TEST(Replay, ProbabilitiesMayBeDividedAsInTopK) {
  const TopK gate{.k = 2, .weights = ChoiceWeights::renormalized({.epsilon = .1, .norm = 2})};
  const auto recorded = gating::route(gate, logits_TE);
  const Replay<float> replay = Replay<float>::recorded(recorded, gate.weights);
  EXPECT_EQ(gating::weights_of(gating::route(replay, logits_TE)), gating::weights_of(recorded));
}

TEST(Replay, TheRecordIsShownFieldByField) {
  const auto gate = Replay<float>::recorded(gating::route(TopK{.k = 2}, logits_TE));
  std::vector<std::string> names;
  for_each_buffer(
      [&](std::string_view name, const auto& values) {
        names.emplace_back(name);
        for (Index i = 0; i < values.size() && name == "record.token"; ++i)
          EXPECT_EQ(static_cast<Index>(values(i)), gate.choices[static_cast<std::size_t>(i)].token);
        for (Index i = 0; i < values.size() && name == "record.rank"; ++i)
          EXPECT_EQ(static_cast<int>(values(i)), gate.choices[static_cast<std::size_t>(i)].rank);
      },
      gate);
  EXPECT_EQ(names, (std::vector<std::string>{"record.token", "record.expert", "record.weight", "record.rank",
                                             "record.fate", "record.tokens"}));
}

}  // namespace replay_test
}  // namespace moe
