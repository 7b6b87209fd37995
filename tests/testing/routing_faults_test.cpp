#include "moe/testing/routing_faults.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace moe {
namespace routing_faults_test {

std::string fault_of(const std::vector<double>& from_0, const std::vector<double>& from_1, bool scales = false) {
  testing::GradientReport report;
  testing::name_overwritten("the gate", "dx", from_0, from_1, report, scales);
  return report.faults.empty() ? "" : report.faults.front();
}

TEST(RoutingFaults, WhatDoesNotKeepItsStartIsWrittenOver) {
  const std::string fault = "the gate: backward writes over 1 entries of dx, to which it must add (+=, not =)";
  EXPECT_EQ(fault_of({2, 1e9}, {3, 1e9 + 1}), "");
  EXPECT_EQ(fault_of({2, 5}, {3, 5}), fault);
  EXPECT_EQ(fault_of({2, 5}, {3, 5.5}), fault);
}

TEST(RoutingFaults, WhatMayBeMultipliedMustDependOnItsStart) {
  EXPECT_EQ(fault_of({2, 5}, {3, 5.5}, true), "");
  EXPECT_NE(fault_of({2, 5}, {3, 5}, true), "");
}

TEST(RoutingFaults, NaNIsLeftToTheComparisonOfNumbers) {
  EXPECT_EQ(fault_of({std::numeric_limits<double>::quiet_NaN()}, {1}), "");
}

}  // namespace routing_faults_test
}  // namespace moe
