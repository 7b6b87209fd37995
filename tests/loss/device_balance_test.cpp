#include "moe/loss/device_balance.hpp"

#include <gtest/gtest.h>

#include "loss/decisions.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace device_balance_test {

using Kind = DeviceBalanceLoss::Kind;
using support::expect_invalid;

// Two tokens, four experts on two devices, k = 2. Token 0 goes to experts 0 and 1 of the first device, token 1 to
// experts 1 and 2, one on each. The devices' mean probabilities are 5/8 and 3/8.
Routing<double> example() {
  return loss::decision(Matrix<double>{{0.5, 0.25, 0.25, 0}, {0, 0.5, 0.25, 0.25}},
                        {{0, 0, 0.5, 0}, {1, 1, 0.5, 0}, {0, 1, 0.25, 1}, {1, 2, 0.25, 1}});
}

TEST(DeviceBalanceLoss, ComputationCountsTheChoicesOfADevice) {
  // f' = 2 / (k T) * (3, 1) = (3/2, 1/2): 3/2 * 5/8 + 1/2 * 3/8.
  EXPECT_EQ((DeviceBalanceLoss{.devices = 2}.value(example())), 1.125);
}

TEST(DeviceBalanceLoss, CommunicationCountsATokenOnceADevice) {
  // Two tokens are sent to the first device, one to the second; M = 2: f' = (1, 1/2).
  EXPECT_EQ((DeviceBalanceLoss{.devices = 2, .kind = Kind::communication}.value(example())), 0.8125);
}

TEST(DeviceBalanceLoss, FewerDevicesThanChoicesLimitTheDevicesOfAToken) {
  // One device: M = 1, both tokens are sent there, f' = 1 and P' = 1.
  EXPECT_EQ((DeviceBalanceLoss{.devices = 1, .kind = Kind::communication}.value(example())), 1);
}

TEST(DeviceBalanceLoss, AGroupOfPaddingIsNone) {
  for (const Kind kind : {Kind::computation, Kind::communication}) {
    const DeviceBalanceLoss loss{.devices = 2, .kind = kind};
    auto padded = loss::decision(Matrix<double>::Constant(4, 4, 0.25), example().choices);
    padded.probabilities_TE.topRows(2) = example().probabilities_TE;
    for (const Index t : {2, 3}) loss::mark_as_padding(padded, t);
    padded.group_size = 2;
    EXPECT_EQ(loss.value(padded), loss.value(example()));
    EXPECT_EQ(loss::gradient_of(loss, padded).probabilities_TE.topRows(2),
              loss::gradient_of(loss, example()).probabilities_TE);
  }
}

TEST(DeviceBalanceLoss, EveryProbabilityGetsItsDevicesShare) {
  const auto drouting = loss::gradient_of(DeviceBalanceLoss{.devices = 2}, example(), 4);
  EXPECT_EQ(drouting.probabilities_TE, (Matrix<double>{{3, 3, 1, 1}, {3, 3, 1, 1}}));  // 4 / T f'
}

TEST(DeviceBalanceLoss, EachGroupIsBalancedByItself) {
  Routing<double> routing = example();
  routing.group_size = 1;
  // Token 0: f' = (2, 0), P' = (3/4, 1/4). Token 1: f' = (1, 1), P' = (1/2, 1/2). Their mean.
  EXPECT_EQ((DeviceBalanceLoss{.devices = 2}.value(routing)), 1.25);
}

TEST(DeviceBalanceLoss, PaddingDoesNotCount) {
  Routing<double> routing = loss::decision(Matrix<double>{{0.75, 0.25}, {9, 9}}, {{0, 0, 1, 0}});
  loss::mark_as_padding(routing, 1);
  EXPECT_EQ((DeviceBalanceLoss{.devices = 2}.value(routing)), 1.5);
  EXPECT_EQ(loss::gradient_of(DeviceBalanceLoss{.devices = 2}, routing).probabilities_TE,
            (Matrix<double>{{2, 0}, {0, 0}}));
}

TEST(DeviceBalanceLoss, OfNothingIsZero) {
  EXPECT_EQ((DeviceBalanceLoss{.devices = 2}.value(loss::decision(Matrix<double>(0, 2), {}))), 0);
  EXPECT_EQ((DeviceBalanceLoss{.devices = 2}.value(loss::decision(Matrix<double>{{0.5, 0.5}}, {}))), 0);
}

TEST(DeviceBalanceLoss, DevicesThatDoNotDivideTheExpertsAreRefused) {
  expect_invalid([] { DeviceBalanceLoss{.devices = 3}.value(example()); }, {"4 experts", "3 devices"});
  expect_invalid([] { DeviceBalanceLoss{.devices = 0}.value(example()); }, {"0 devices"});
}

}  // namespace device_balance_test
}  // namespace moe
