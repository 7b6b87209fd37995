#include "moe/gating/expert_choice.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "gating/route.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace expert_choice_test {

using support::expect_invalid;

// Probabilities of expert 0: 3/4, 1/2, 1/4, 2/3.
const Matrix<double> logits_TE{{std::log(3.0), 0}, {0, 0}, {0, std::log(3.0)}, {std::log(2.0), 0}};

TEST(ExpertChoice, EveryExpertTakesItsBestTokens) {
  // C = 4 * 1 / 2 = 2: expert 0 takes tokens 0 and 3, expert 1 tokens 2 and 1.
  const auto routing = gating::route(ExpertChoice{.factor = 1}, logits_TE);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 0, 1, 1}));
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0, 3, 2, 1}));
  const auto weights = gating::weights_of(routing);
  EXPECT_NEAR(weights[0], 3.0 / 4, 1e-15);
  EXPECT_NEAR(weights[1], 2.0 / 3, 1e-15);
  EXPECT_NEAR(weights[2], 3.0 / 4, 1e-15);
  EXPECT_EQ(weights[3], 0.5);
  EXPECT_EQ(routing.choices_per_token, 0);
}

TEST(ExpertChoice, ATieGoesToTheEarlierToken) {
  const auto routing = gating::route(ExpertChoice{.factor = 1}, Matrix<double>(Matrix<double>::Zero(4, 2)));
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0, 1, 0, 1}));
}

TEST(ExpertChoice, GroupsChooseForThemselves) {
  const auto routing = gating::route(ExpertChoice{.factor = 1}, logits_TE, {}, 2);
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0, 1, 3, 2}));
}

TEST(ExpertChoice, PaddingIsNotTaken) {
  const std::vector<std::uint8_t> valid{0, 1, 1, 0};
  const auto routing = gating::route(ExpertChoice{.factor = 1}, logits_TE, valid);
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{1, 2}));
}

TEST(ExpertChoice, ATokenOfNaNIsTakenLast) {
  Matrix<double> logits = logits_TE;
  logits.row(0).setConstant(support::nan_of<double>);
  const auto routing = gating::route(ExpertChoice{.factor = 1}, logits);
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{3, 1, 2, 1}));
}

TEST(ExpertChoice, SlotsAreRoundedAsAsked) {
  // 7 * 1 / 2 = 3.5 and 5 * 1 / 2 = 2.5.
  EXPECT_EQ((ExpertChoice{1, Rounding::down}.slots(7, 2)), 3);
  EXPECT_EQ((ExpertChoice{1, Rounding::up}.slots(7, 2)), 4);
  EXPECT_EQ((ExpertChoice{1, Rounding::nearest}.slots(7, 2)), 4);
  EXPECT_EQ((ExpertChoice{1, Rounding::nearest}.slots(5, 2)), 2);
}

TEST(ExpertChoice, SlotsMayHaveAMinimumAndBeAMultiple) {
  EXPECT_EQ((ExpertChoice{.factor = 1, .minimum = 4}.slots(16, 8)), 4);                // 2, flaxformer
  EXPECT_EQ((ExpertChoice{.factor = 2, .multiple = 4}.slots(20, 8)), 8);               // 5, V-MoE
  EXPECT_EQ((ExpertChoice{.factor = 1, .minimum = 4, .multiple = 3}.slots(5, 8)), 5);  // 6, but there are 5
  expect_invalid([] { ExpertChoice{.minimum = 0}.check(4); }, {"minimum 0"});
  expect_invalid([] { ExpertChoice{.multiple = 0}.check(4); }, {"multiple 0"});
}

TEST(ExpertChoice, AnExpertTakesAtLeastOneTokenAndAtMostAll) {
  EXPECT_EQ((ExpertChoice{.factor = 0.1}.slots(4, 2)), 1);
  EXPECT_EQ((ExpertChoice{.factor = 2}.slots(3, 2)), 3);
}

TEST(ExpertChoice, TheGradientIsThatOfASoftmaxOverExperts) {
  // Token 0 of expert 0, p = (3/4, 1/4): J (1, 0) = (3/16, -3/16).
  const auto routing = gating::route(ExpertChoice{.factor = 1}, logits_TE);
  const auto drouting = gating::backward(ExpertChoice{.factor = 1}, routing, {1, 0, 0, 0});
  EXPECT_TRUE(drouting.logits_TE.row(0).isApprox(Matrix<double>{{3.0 / 16, -3.0 / 16}}, 1e-14));
  EXPECT_EQ(drouting.logits_TE.bottomRows(3), Matrix<double>::Zero(3, 2));
}

TEST(ExpertChoice, AFactorOutsideItsIntervalIsRefused) {
  for (const double factor : {0.0, -1.0, 4.5, support::nan_of<double>, support::infinity_of<double>})
    expect_invalid([&] { ExpertChoice{.factor = factor}.check(4); }, {"ExpertChoice: factor is", "4"});
  EXPECT_NO_THROW(ExpertChoice{.factor = 4}.check(4));
}

TEST(ExpertChoice, ATokenOfNaNLeavesTheOthersAlone) {
  const Matrix<double> z{{1}, {std::nan("")}, {2}};
  const ExpertChoice gate{.factor = 1, .softmax_axis = ExpertChoice::Axis::tokens};
  const auto routing = gating::route(gate, z);
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{2, 0, 1}));
  EXPECT_NEAR(routing.choices[0].weight, 1 / (1 + std::exp(-1.)), 1e-15);
  EXPECT_NEAR(routing.choices[1].weight, 1 / (1 + std::exp(1.)), 1e-15);
  EXPECT_TRUE(std::isnan(routing.choices[2].weight));
  const auto drouting = gating::backward(gate, routing, {1., 0., std::nan("")});
  EXPECT_NEAR(drouting.logits_TE(2, 0), routing.choices[0].weight * routing.choices[1].weight, 1e-15);
  EXPECT_NEAR(drouting.logits_TE(0, 0), -routing.choices[0].weight * routing.choices[1].weight, 1e-15);
}

TEST(ExpertChoice, AnExpertThatAllTokensMaskWeighsNothing) {
  const double masked = -support::infinity_of<double>;
  for (const auto axis : {ExpertChoice::Axis::experts, ExpertChoice::Axis::tokens}) {
    const auto routing =
        gating::route(ExpertChoice{.factor = 1, .softmax_axis = axis}, Matrix<double>{{0, masked}, {1, masked}});
    for (const auto& c : routing.choices) {
      EXPECT_TRUE(c.expert == 1 ? c.weight == 0 : c.weight > 0) << c.weight;
    }
  }
}

// In float every probability of expert 1 is 0; its best token is the one of the largest logarithm.
TEST(ExpertChoice, TokensAreToldApartWhereProbabilitiesUnderflow) {
  const Matrix<float> z{{0, -300}, {0, -200}, {0, -250}};
  for (const auto axis : {ExpertChoice::Axis::experts, ExpertChoice::Axis::tokens})
    EXPECT_EQ(gating::tokens_of(gating::route(ExpertChoice{.factor = 2. / 3, .softmax_axis = axis}, z)),
              (std::vector<Index>{0, 1}));
}

}  // namespace expert_choice_test
}  // namespace moe
