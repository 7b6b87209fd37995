#include "moe/loss/gate_label.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "loss/decisions.hpp"
#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "support/random_model.hpp"

namespace moe {
namespace gate_label_test {

using support::expect_invalid;

const Matrix<double> p_TE{{0.5, 0.25, 0.25}, {0.1, 0.3, 0.6}};

TEST(GateLabelLoss, IsTheCrossEntropyOfTheLabelledExpert) {
  const auto routing = loss::decision(p_TE, {});
  const GateLabelLoss loss{.label_of_token = {1, 2}};
  EXPECT_NEAR(loss.value(routing), -(std::log(0.25) + std::log(0.6)) / 2, 1e-15);
  // scale 4: 2 (p - 1 at the label)
  EXPECT_TRUE(
      loss::gradient_of(loss, routing, 4).logits_TE.isApprox(Matrix<double>{{1, -1.5, 0.5}, {0.2, 0.6, -0.8}}, 1e-14));
}

TEST(GateLabelLoss, AGroupsMassAddsUp) {
  const auto routing = loss::decision(p_TE, {});
  const GateLabelLoss loss{.label_of_token = {7, -1}, .label_of_expert = {7, 7, 3}};
  EXPECT_NEAR(loss.value(routing), -std::log(0.75), 1e-15);  // the second token has no label
  EXPECT_TRUE(loss::gradient_of(loss, routing)
                  .logits_TE.isApprox(Matrix<double>{{0.5 - 2.0 / 3, 0.25 - 1.0 / 3, 0.25}, {0, 0, 0}}, 1e-14));
}

TEST(GateLabelLoss, PaddingAndNothingDoNotCount) {
  auto routing = loss::decision(p_TE, {});
  loss::mark_as_padding(routing, 0);
  EXPECT_NEAR((GateLabelLoss{.label_of_token = {1, 2}}.value(routing)), -std::log(0.6), 1e-15);
  EXPECT_EQ((GateLabelLoss{.label_of_token = {1, -1}}.value(routing)), 0);
  EXPECT_EQ(GateLabelLoss{}.value(routing), 0);
  EXPECT_EQ(GateLabelLoss{}.value(loss::decision(Matrix<double>(0, 3), {})), 0);
}

TEST(GateLabelLoss, AHopelessLogitIsStillPulledUp) {
  auto routing = loss::decision(p_TE, {});
  routing.logits_TE.row(0) << 0, -1e4, 0;  // its probability is 0 in double
  const GateLabelLoss loss{.label_of_token = {1, -1}};
  EXPECT_NEAR(loss.value(routing), 1e4 + std::log(2.0), 1e-10);
  EXPECT_TRUE(loss::gradient_of(loss, routing).logits_TE.isApprox(Matrix<double>{{0.5, -1, 0.5}, {0, 0, 0}}, 1e-14));
}

TEST(GateLabelLoss, AMaskedLabelIsNone) {
  auto routing = loss::decision(p_TE, {});
  routing.logits_TE(0, 1) = -std::numeric_limits<double>::infinity();
  const GateLabelLoss loss{.label_of_token = {1, 2}};
  EXPECT_NEAR(loss.value(routing), -std::log(0.6), 1e-15);
  EXPECT_TRUE(loss::gradient_of(loss, routing).logits_TE.row(0).isZero(0));
}

TEST(GateLabelLoss, LabelsThatDoNotFitAreRefused) {
  const auto routing = loss::decision(p_TE, {});
  expect_invalid([&] { GateLabelLoss{.label_of_token = {1}}.value(routing); }, {"1 labels for 2 tokens"});
  expect_invalid([&] { GateLabelLoss{.label_of_token = {1, 3}}.value(routing); }, {"token 1 has label 3"});
  expect_invalid([&] { GateLabelLoss{.label_of_token = {1, -2}}.value(routing); }, {"token 1 has label -2"});
  expect_invalid(
      [&] {
        GateLabelLoss{.label_of_token = {0, 0}, .label_of_expert = {0}}.value(routing);
      },
      {"1 labels for 3 experts"});
}

TEST(GateLabelLoss, TheGradientAgreesWithDifferences) {
  std::mt19937_64 rng(1);
  const GateLabelLoss groups{
      .coefficient = 0.7, .label_of_token = {0, 1, -1, 1, 0, 0}, .label_of_expert = {1, 0, 0, 1}};
  const Layer layer{support::random_router(4, 3, rng), TopK{.k = 2},
                    support::random_experts<Mlp<double, Gelu>>(4, 3, 5, rng), Losses{groups}};
  const auto report = testing::check_layer_gradients(layer, support::random_matrix(6, 3, rng));
  EXPECT_TRUE(report) << report;
}

}  // namespace gate_label_test
}  // namespace moe
