#include "moe/loss/smooth_load.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "gating/route.hpp"
#include "loss/decisions.hpp"
#include "moe/gating/base_assignment.hpp"
#include "moe/gating/expert_choice.hpp"
#include "moe/gating/fixed_noise.hpp"
#include "moe/gating/gumbel_noise.hpp"
#include "moe/gating/noisy_top_k.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/sinkhorn.hpp"
#include "moe/gating/sparse_mixer.hpp"
#include "moe/gating/threshold.hpp"
#include "moe/gating/top_p.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace load_test {

using Threshold = LoadLoss::Threshold;

double phi(double u) { return 0.5 * std::erfc(-u / std::sqrt(2.0)); }

/// CV^2 of two values, epsilon 0.
double variation(double a, double b) { return std::pow((a - b) / (a + b), 2); }

/// One token, two experts, k = 1: the noisy logits are 1.5 and 0.2, of standard deviations 0.5 and 1.5.
Routing<double> example() {
  auto routing = loss::decision(Matrix<double>{{0.5, 0.5}}, {{0, 0, 1}});
  routing.logits_TE = Matrix<double>{{1, 0}};
  routing.choices_per_token = 1;
  routing.noise.drawn = true;
  routing.noise.stddev_TE = Matrix<double>{{0.5, 1.5}};
  routing.noise.normal_TE = Matrix<double>{{1, 0.2 / 1.5}};
  routing.noise.logits_TE = Matrix<double>{{1.5, 0.2}};
  return routing;
}

TEST(LoadLoss, TheThresholdIsTheBestOfTheOthers) {
  // Expert 0 competes with 0.2, expert 1 with 1.5.
  const double expected = variation(phi((1 - 0.2) / 0.5), phi((0 - 1.5) / 1.5));
  EXPECT_NEAR((LoadLoss{.epsilon = 0}.value(example())), expected, 1e-14);
}

TEST(LoadLoss, TheThresholdMayBeTheBestOfAll) {
  const double expected = variation(phi((1 - 1.5) / 0.5), phi((0 - 1.5) / 1.5));
  EXPECT_NEAR((LoadLoss{.threshold = Threshold::kth_largest, .epsilon = 0}.value(example())), expected, 1e-14);
}

TEST(LoadLoss, TheGradientGoesThroughLogitThresholdAndStandardDeviation) {
  // Each of them changes one probability Phi(u): du / dlogit = 1 / stddev, du / dstddev = -u / stddev.
  const auto drouting = loss::gradient_of(LoadLoss{.epsilon = 0}, example());
  const double a = phi(1.6), b = phi(-1);
  const double da = 4 * (a - b) * b / std::pow(a + b, 3);  // of ((a - b) / (a + b))^2
  const double slope = da * std::exp(-1.6 * 1.6 / 2) / std::sqrt(2 * std::acos(-1.0)) / 0.5;
  EXPECT_NEAR(drouting.logits_TE(0, 0), slope, 1e-14);
  EXPECT_NEAR(drouting.noise.logits_TE(0, 1), -slope, 1e-14);
  EXPECT_NEAR(drouting.noise.stddev_TE(0, 0), -slope * 1.6, 1e-14);
}

TEST(LoadLoss, WithoutNoiseTheChoicesAreCounted) {
  auto routing = loss::decision(Matrix<double>::Constant(4, 2, 0.5), {{0, 0, 1}, {1, 1, 1}, {2, 1, 1}, {3, 1, 1}});
  routing.choices_per_token = 1;
  EXPECT_EQ((LoadLoss{.epsilon = 0}.value(routing)), 0.25);
  EXPECT_EQ(loss::gradient_of(LoadLoss{}, routing).logits_TE, Matrix<double>::Zero(4, 2));
}

TEST(LoadLoss, WithAllExpertsChosenThereIsNothingToBalance) {
  auto routing = example();
  routing.choices.push_back({0, 1, 1});
  routing.choices_per_token = 2;
  EXPECT_EQ(LoadLoss{}.value(routing), 0);
  EXPECT_EQ(loss::gradient_of(LoadLoss{}, routing).logits_TE, Matrix<double>::Zero(1, 2));
}

TEST(LoadLoss, NoNoiseLeftGivesAStepWithoutASlope) {
  auto routing = example();
  routing.noise.stddev_TE.setZero();
  EXPECT_EQ((LoadLoss{.epsilon = 0}.value(routing)), 1);  // loads 1 and 0
  const auto drouting = loss::gradient_of(LoadLoss{}, routing);
  EXPECT_EQ(drouting.logits_TE, Matrix<double>::Zero(1, 2));
  EXPECT_EQ(drouting.noise.stddev_TE, Matrix<double>::Zero(1, 2));
}

TEST(LoadLoss, AmongEqualsTheChosenExpertsRivalIsTheOther) {
  auto routing = example();
  routing.noise.logits_TE.setConstant(1.2);
  const auto drouting = loss::gradient_of(LoadLoss{.epsilon = 0}, routing);
  EXPECT_NE(drouting.logits_TE(0, 0), 0);
  EXPECT_EQ(drouting.noise.logits_TE(0, 1), -drouting.logits_TE(0, 0));
  EXPECT_EQ(drouting.noise.logits_TE(0, 0), -drouting.logits_TE(0, 1));
}

TEST(LoadLoss, ProbabilitiesMayBeComparedWithTheBestLogit) {
  const double p = 1 / (1 + std::exp(-1.0));  // softmax of (1, 0)
  const LoadLoss loss{.threshold = Threshold::of_probabilities, .epsilon = 0};
  const double a = phi((p - 1.5) / 0.5), b = phi((1 - p - 1.5) / 1.5);
  EXPECT_NEAR(loss.value(example()), variation(a, b), 1e-14);
  // Both margins move with the first logit, by p (1 - p) and its opposite.
  const auto density = [](double u) { return std::exp(-u * u / 2) / std::sqrt(2 * std::acos(-1.0)); };
  const double da = 4 * (a - b) * b / std::pow(a + b, 3), db = -4 * (a - b) * a / std::pow(a + b, 3);
  const double slope = (da * density((p - 1.5) / 0.5) / 0.5 - db * density((1 - p - 1.5) / 1.5) / 1.5) * p * (1 - p);
  const auto drouting = loss::gradient_of(loss, example());
  EXPECT_NEAR(drouting.logits_TE(0, 0), slope, 1e-14);
  EXPECT_NEAR(drouting.logits_TE(0, 1), -slope, 1e-14);
}

TEST(LoadLoss, OfNothingIsZero) { EXPECT_EQ(LoadLoss{}.value(loss::decision(Matrix<double>(0, 2), {})), 0); }

TEST(LoadLoss, AGateThatDoesNotChooseAFixedNumberIsRefused) {
  auto routing = example();
  routing.choices_per_token = 0;
  support::expect_invalid([&] { LoadLoss{}.value(routing); }, {"LoadLoss", "fixed number k"});
}

// What is estimated is how often experts are chosen, whatever the gate and its noise; where that has no smooth form,
// choices are counted. Over 4000 tokens an estimate and its counts differ by less than five standard deviations.
template <class G>
void expect_load_is_what_is_chosen(const G& gate, const char* what) {
  constexpr Index tokens = 4000;
  const Matrix<double> logits_TE = Matrix<double>{{0.3, 0, -0.2, 0.1}}.replicate(tokens, 1);
  Random random(3);
  const auto routing = gating::route(gate, logits_TE, {}, 0, &random);
  Vector<double> chosen_E = Vector<double>::Zero(4);
  for (const auto& c : routing.choices) chosen_E(c.expert) += 1;
  const Vector<double> load_E = LoadLoss{}.load_of_experts(routing);
  EXPECT_LT((load_E - chosen_E).cwiseAbs().maxCoeff(), 5 * std::sqrt(tokens / 4.))
      << what << ": " << load_E.transpose() << " for " << chosen_E.transpose();
}

TEST(LoadLoss, EstimatesWhatIsChosenBehindEveryNoise) {
  const TopK top2{.k = 2, .weights = ChoiceWeights::probabilities()};
  const ScoredTopK scored{.k = 2}, biased{.k = 2, .selection_bias_E = Vector<double>{{10, 0, 0, 0}}},
      grouped{.k = 2, .groups = 2, .groups_used = 1};
  expect_load_is_what_is_chosen(FixedNoise{top2, 2.}, "top-k, fixed noise");
  expect_load_is_what_is_chosen(FixedNoise{scored, 2.}, "scored, fixed noise");
  expect_load_is_what_is_chosen(FixedNoise{biased, 2.}, "biased, fixed noise");
  expect_load_is_what_is_chosen(FixedNoise{grouped, 2.}, "groups, fixed noise");
  expect_load_is_what_is_chosen(FixedNoise{Sinkhorn{.k = 2}, 2.}, "Sinkhorn, fixed noise");
  expect_load_is_what_is_chosen(FixedNoise{BaseAssignment{}, 2.}, "BASE, fixed noise");
  expect_load_is_what_is_chosen(GumbelNoise<TopK>{top2}, "top-k, Gumbel noise");
  expect_load_is_what_is_chosen(GumbelNoise<TopK>{top2, true}, "top-k, Gumbel noise but for the first");
  expect_load_is_what_is_chosen(GumbelNoise<ScoredTopK>{scored, false, 0.5}, "scored, Gumbel noise");
  expect_load_is_what_is_chosen(Sinkhorn{.k = 2}, "Sinkhorn");
  expect_load_is_what_is_chosen(SparseMixer{.k = 2}, "SparseMixer");
}

TEST(LoadLoss, CountsTheChoicesOfATransportPlan) {
  Random random(1);
  const auto routing = gating::route(Sinkhorn{.k = 1}, Matrix<double>{{9, 0}, {9, 0}, {9, 0}}, {}, 0, &random);
  double first = 0;
  for (const auto& c : routing.choices) first += c.expert == 0 ? 1 : 0;
  EXPECT_NEAR((LoadLoss{.epsilon = 0}.value(routing)), variation(first, 3 - first), 1e-14);
}

// A shift of all logits changes nothing: the gradient of a bias adds up to 0.
TEST(LoadLoss, WithGumbelNoiseTheGradientAddsUpToZero) {
  Random random(1);
  const GumbelNoise<TopK> gate{{.k = 2, .weights = ChoiceWeights::probabilities()}};
  const auto routing = gating::route(gate, Matrix<double>{{0.3, 0, -0.2}, {0, 0.1, 0.4}}, {}, 0, &random);
  auto drouting = loss::gradient_of(LoadLoss{}, routing);
  gate.backward(routing, drouting);
  EXPECT_GT(drouting.logits_TE.cwiseAbs().maxCoeff(), 1e-3);
  EXPECT_NEAR(drouting.logits_TE.sum(), 0, 1e-15);
}

// A masked expert is never chosen, by no noise; it has no gradient, and the others have theirs.
TEST(LoadLoss, AMaskedExpertLeavesTheOthersAlone) {
  const double masked = -support::infinity_of<double>;
  auto gate = NoisyTopK<double>::zeros(3, 1, {.k = 1, .weights = ChoiceWeights::probabilities()});
  Random random(1);
  const auto routing = gating::route(gate, Matrix<double>{{0.3, masked, -0.2}, {0, masked, 0.4}}, {}, 0, &random);
  const auto drouting = loss::gradient_of(LoadLoss{}, routing);
  EXPECT_TRUE(drouting.logits_TE.allFinite());
  EXPECT_TRUE(drouting.noise.stddev_TE.allFinite()) << drouting.noise.stddev_TE;
  EXPECT_GT(drouting.noise.stddev_TE.cwiseAbs().maxCoeff(), 0);
}

TEST(LoadLoss, AGateOfADifferingNumberIsRefusedAtConstruction) {
  const auto check = [](const auto& gate) { LoadLoss{}.check(4, gate); };
  support::expect_invalid([&] { check(TopP{}); }, {"LoadLoss", "fixed number k"});
  support::expect_invalid([&] { check(FixedNoise{moe::Threshold{}, 1.}); }, {"LoadLoss", "fixed number k"});
  support::expect_invalid([&] { check(ExpertChoice{}); }, {"LoadLoss", "fixed number k"});
  EXPECT_NO_THROW(check(TopK{}));
}

}  // namespace load_test
}  // namespace moe
