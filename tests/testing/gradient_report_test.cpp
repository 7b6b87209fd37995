#include "moe/testing/gradient_report.hpp"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace moe {
namespace gradient_report_test {

TEST(GradientReport, AFaultMakesItFailAndIsPrinted) {
  testing::GradientReport report;
  EXPECT_TRUE(report);
  report.add_fault("dx is wrong");
  EXPECT_FALSE(report);
  std::ostringstream out;
  out << report;
  EXPECT_NE(out.str().find("GRADIENTS NOT SHOWN TO AGREE"), std::string::npos);
  EXPECT_NE(out.str().find("; dx is wrong"), std::string::npos);
}

}  // namespace gradient_report_test
}  // namespace moe
