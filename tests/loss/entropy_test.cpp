#include "moe/loss/entropy.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "loss/decisions.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace entropy_test {

using Kind = EntropyLoss::Kind;
using support::expect_invalid;

constexpr double ln2 = std::numbers::ln2;

// One token is sure, the other not at all; their mean is (3/4, 1/4).
Routing<double> example() { return loss::decision(Matrix<double>{{1, 0}, {0.5, 0.5}}, {}); }

const double entropy_of_mean = -0.75 * std::log(0.75) - 0.25 * std::log(0.25);

TEST(EntropyLoss, LocalIsTheMeanEntropyOfTheTokens) { EXPECT_NEAR(EntropyLoss{}.value(example()), ln2 / 2, 1e-15); }

TEST(EntropyLoss, GlobalIsMinusTheEntropyOfTheMean) {
  EXPECT_NEAR(EntropyLoss{.kind = Kind::global}.value(example()), -entropy_of_mean, 1e-15);
}

TEST(EntropyLoss, MutualInformationIsTheSumOfBoth) {
  EXPECT_NEAR(EntropyLoss{.kind = Kind::mutual_information}.value(example()), ln2 / 2 - entropy_of_mean, 1e-15);
}

TEST(EntropyLoss, TheGradientIsThatOfTheEntropies) {
  // d H / d p = -(ln p + 1), over two tokens; where p is 0 the slope has no end and is left out.
  const double half = ln2 - 1;
  const auto local = loss::gradient_of(EntropyLoss{}, example(), 2).probabilities_TE;
  EXPECT_TRUE(local.isApprox(Matrix<double>{{-1, 0}, {half, half}}, 1e-15)) << local;
  const double first = std::log(0.75) + 1, second = std::log(0.25) + 1;
  const auto global = loss::gradient_of(EntropyLoss{.kind = Kind::global}, example(), 2).probabilities_TE;
  EXPECT_TRUE(global.isApprox(Matrix<double>{{first, second}, {first, second}}, 1e-15)) << global;
}

TEST(EntropyLoss, AThresholdThatIsMetAsksForNothing) {
  const EntropyLoss met{.kind = Kind::global, .threshold = 0.5}, missed{.kind = Kind::global, .threshold = ln2};
  EXPECT_EQ(met.value(example()), 0);
  EXPECT_EQ(loss::gradient_of(met, example()).probabilities_TE, (Matrix<double>::Zero(2, 2)));
  EXPECT_NEAR(missed.value(example()), ln2 - entropy_of_mean, 1e-15);
  EXPECT_NE(loss::gradient_of(missed, example()).probabilities_TE, (Matrix<double>::Zero(2, 2)));
}

TEST(EntropyLoss, OnlyTheNamedModalityCounts) {
  const EntropyLoss text{.modality = 1, .modality_of_token = {0, 1}};
  EXPECT_NEAR(text.value(example()), ln2, 1e-15);
  EXPECT_EQ(loss::gradient_of(text, example()).probabilities_TE.row(0), (Matrix<double>{{0, 0}}));
  EXPECT_EQ((EntropyLoss{.modality = 7, .modality_of_token = {0, 1}}.value(example())), 0);
  expect_invalid([] { EntropyLoss{.modality = 1, .modality_of_token = {0}}.value(example()); },
                 {"1 modality labels for 2 tokens"});
}

TEST(EntropyLoss, PaddingDoesNotCount) {
  Routing<double> routing = example();
  loss::mark_as_padding(routing, 0);
  EXPECT_NEAR(EntropyLoss{}.value(routing), ln2, 1e-15);
}

TEST(EntropyLoss, AThresholdThatIsNoNumberIsRefused) {
  expect_invalid([] { EntropyLoss{.threshold = support::nan_of<double>}.value(example()); }, {"threshold is", "nan"});
}

TEST(EntropyLoss, ItsNameTellsWhichEntropy) {
  EXPECT_EQ(EntropyLoss{}.name(), "local_entropy");
  EXPECT_EQ(EntropyLoss{.kind = Kind::global}.name(), "global_entropy");
  EXPECT_EQ(EntropyLoss{.kind = Kind::mutual_information}.name(), "mutual_information");
}

}  // namespace entropy_test
}  // namespace moe
