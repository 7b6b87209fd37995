// Small numbers that several well-known systems agree on, computed by hand.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>
#include <tuple>
#include <vector>

#include "moe/moe.hpp"

namespace portable_vectors_test {

using moe::Index;
using Matrix = moe::Matrix<double>;
using Routing = moe::Routing<double>;

template <class G>
Routing route(const G& gate, const Matrix& logits_TE, moe::Random* random = nullptr) {
  Routing routing;
  const moe::Batch<double> batch = logits_TE;
  routing.reset(batch, logits_TE.cols());
  routing.logits_TE = logits_TE;
  gate.route(batch, routing, random);
  return routing;
}

/// (token, expert, weight), without regard to order.
using Slots = std::set<std::tuple<Index, Index, double>>;

Matrix probabilities() {
  Matrix p(4, 3);
  p << .5, .4, .1, .3, .3, .4, .1, .2, .7, .8, .2, 0;
  return p;
}

Matrix dispatched() {
  Matrix p(3, 3);
  p << .4, 0, .2, .5, .1, .4, .3, .2, .6;
  return p;
}

double balance(Index k, moe::LoadBalanceLoss::Count count) {
  const moe::TopK gate{.k = k, .weights = moe::ChoiceWeights::probabilities()};
  return moe::LoadBalanceLoss{.count = count}.value(route(gate, probabilities().array().log()));
}

TEST(PortableVectors, LoadBalance) {
  using Count = moe::LoadBalanceLoss::Count;
  EXPECT_NEAR(balance(1, Count::first_choices), 1.0875, 1e-14);
  EXPECT_NEAR(balance(2, Count::first_choices), 1.0875, 1e-14);
  EXPECT_NEAR(balance(2, Count::all_choices), 2.025, 1e-14);
  EXPECT_NEAR(balance(2, Count::all_choices_share), 1.0125, 1e-14);
}

TEST(PortableVectors, Importance) {
  using Source = moe::ImportanceLoss::Source;
  const Routing routing =
      route(moe::TopK{.k = 2, .weights = moe::ChoiceWeights::renormalized()}, probabilities().array().log());
  const moe::ImportanceLoss dense{.source = Source::clean_probabilities, .epsilon = 0};
  EXPECT_NEAR(dense.value(routing), 0.03875, 1e-14);
  const moe::ImportanceLoss unbiased{
      .source = Source::clean_probabilities, .variance = moe::Variance::unbiased, .epsilon = 0};
  EXPECT_NEAR(unbiased.value(routing), 0.058125, 1e-14);
  EXPECT_NEAR((moe::ImportanceLoss{.source = Source::weights, .epsilon = 0}).value(routing), 0.0789834, 5e-8);
}

/// Noise of standard deviation 0.1 that was drawn elsewhere.
TEST(PortableVectors, LoadByTheKthLargest) {
  Matrix logits_TE(3, 3);
  logits_TE << .9, .06, .04, .7, .18, .12, .85, .05, .1;
  std::vector<double> draws{-.037, .026, -.018, -.074, .045, -.015, -.067, -.059, .073};
  for (double& draw : draws) draw /= .1;
  moe::Random random = moe::Random::recorded(draws);
  const moe::FixedNoise gate{moe::TopK{.k = 2, .weights = moe::ChoiceWeights::probabilities()}, .3};  // over E: 0.1
  const moe::LoadLoss loss{.threshold = moe::LoadLoss::Threshold::kth_largest, .epsilon = 0};
  EXPECT_NEAR(loss.value(route(gate, logits_TE, &random)), 0.4857385, 5e-8);
}

/// Two choices a token, room for two tokens an expert: all first choices before all second ones.
TEST(PortableVectors, Dispatch) {
  const Matrix p = dispatched();
  Routing routing = route(moe::TopK{.k = 2}, p);
  for (auto& choice : routing.choices) choice.weight = p(choice.token, choice.expert);
  moe::Plan<double> plan;
  plan.build(moe::Batch<double>(p), routing, moe::Capacity::exactly(2), true);
  Slots slots;
  for (Index e = 0; e < plan.experts(); ++e)
    for (Index slot = plan.begin_of(e); slot < plan.begin_of(e + 1); ++slot)
      slots.insert({plan.token[static_cast<std::size_t>(slot)], e, plan.weight[static_cast<std::size_t>(slot)]});
  EXPECT_EQ(slots, (Slots{{0, 0, .4}, {1, 0, .5}, {2, 2, .6}, {0, 2, .2}}));
}

/// The same scores, room for two; a fourth expert makes the rows sum to 2, so that half of a score is a probability.
TEST(PortableVectors, ExpertChoice) {
  Matrix p(3, 4);
  p << dispatched(), 2 - dispatched().rowwise().sum().array();
  const moe::ExpertChoice gate{.factor = 8. / 3};
  ASSERT_EQ(gate.slots(3, 4), 2);
  const Routing routing = route(gate, p.array().log());
  const std::array<std::pair<Index, Index>, 6> expected{{{1, 0}, {0, 0}, {2, 1}, {1, 1}, {2, 2}, {1, 2}}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto [token, expert] = expected[i];
    EXPECT_EQ(routing.choices[i].token, token);
    EXPECT_EQ(routing.choices[i].expert, expert);
    EXPECT_NEAR(routing.choices[i].weight, p(token, expert) / 2, 1e-15);
  }
  // Of the three experts of the example: weights from .1 to .6, and one, two and three experts for the tokens.
  double least = 1, largest = 0;
  std::array<Index, 3> experts_of{};
  for (const auto& c : routing.choices) {
    if (c.expert == 3) continue;
    least = std::fmin(least, 2 * c.weight), largest = std::fmax(largest, 2 * c.weight);
    ++experts_of[static_cast<std::size_t>(c.token)];
  }
  EXPECT_NEAR(least, .1, 1e-15);
  EXPECT_NEAR(largest, .6, 1e-15);
  EXPECT_EQ(experts_of, (std::array<Index, 3>{1, 3, 2}));
}

/// Megatron-Core's iteration: three rounds.
TEST(PortableVectors, Sinkhorn) {
  Matrix logits_TE(3, 3), expected(3, 3), transport;
  logits_TE << 1, .5, .2, .9, .1, .3, .8, .7, .6;
  expected << .121569, .118001, .093763, .125260, .090071, .118000, .086504, .125261, .121570;
  const moe::Sinkhorn gate;
  Routing routing = route(gate, logits_TE);
  gate.transport(routing, transport);
  EXPECT_LT((transport - expected).cwiseAbs().maxCoeff(), 1e-6);
}

TEST(PortableVectors, Capacity) {
  const auto slots = [](double factor, Index tokens, Index k, Index experts) {
    return moe::Capacity::factor(factor).slots(tokens, tokens * k, experts, true);
  };
  EXPECT_EQ(slots(1.25, 100, 2, 8), 32);  // DeepSpeed, Megatron-Core, V-MoE
  EXPECT_EQ(slots(1, 32, 2, 32), 2);      // V-MoE before it rounds up to a multiple of 4
  EXPECT_EQ(moe::Capacity::v_moe(1).slots(32, 64, 32, true), 4);
  EXPECT_EQ(slots(1, 4, 2, 4), 2);  // DeepSpeed
  EXPECT_EQ((moe::ExpertChoice{.factor = 2}.slots(128, 32)), 8);
}

}  // namespace portable_vectors_test
