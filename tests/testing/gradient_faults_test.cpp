#include "moe/testing/gradient_faults.hpp"

#include <gtest/gtest.h>

#include <string>

namespace moe {
namespace gradient_faults_test {

/// The fault of a pass that leaves dx as these, where it began with 0 and with 1.
std::string fault_of(const Matrix<double>& from_0, const Matrix<double>& from_1) {
  testing::GradientReport report;
  testing::name_input_fault(from_0, from_1, report);
  return report.faults.empty() ? "" : report.faults.front();
}

TEST(GradientFaults, OfDxAreToldApart) {
  EXPECT_EQ(fault_of(Matrix<double>{{2, 3}}, Matrix<double>{{2, 3}}), "");
  EXPECT_EQ(fault_of(Matrix<double>{{2, 3}}, Matrix<double>{{3, 4}}),
            "backward adds to dx, which it must write (dx =, not dx +=)");
  EXPECT_EQ(fault_of(Matrix<double>{{2, 0}}, Matrix<double>{{2, 1}}), "backward leaves 1 entries of dx unwritten");
}

}  // namespace gradient_faults_test
}  // namespace moe
