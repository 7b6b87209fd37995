#include "moe/io/conversion.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace conversion_test {

using moe::io::Conversion;
using moe::io::conversion_to;
using moe::io::DType;

TEST(Conversion, ToMoreDigitsIsExact) {
  EXPECT_EQ(conversion_to<double>(DType::F32), Conversion::exact);
  EXPECT_EQ(conversion_to<float>(DType::BF16), Conversion::exact);
  EXPECT_EQ(conversion_to<float>(DType::F16), Conversion::exact);
  EXPECT_EQ(conversion_to<double>(DType::I32), Conversion::exact);
  EXPECT_EQ(conversion_to<std::int64_t>(DType::U32), Conversion::exact);
}

TEST(Conversion, ToFewerDigitsOrASmallerRangeRounds) {
  EXPECT_EQ(conversion_to<float>(DType::F64), Conversion::rounds);
  EXPECT_EQ(conversion_to<Eigen::half>(DType::BF16), Conversion::rounds);  // more digits, but a smaller range
  EXPECT_EQ(conversion_to<Eigen::bfloat16>(DType::F16), Conversion::rounds);
}

TEST(Conversion, IntegersThatMayNotFitAreSeenValueByValue) {
  EXPECT_EQ(conversion_to<double>(DType::I64), Conversion::by_value);
  EXPECT_EQ(conversion_to<std::uint64_t>(DType::I8), Conversion::by_value);
  EXPECT_EQ(conversion_to<Eigen::half>(DType::I32), Conversion::by_value);
}

TEST(Conversion, OfFloatsToIntegersAndOfTypesWithoutACounterpartThereIsNone) {
  EXPECT_EQ(conversion_to<std::int64_t>(DType::F32), Conversion::impossible);
  EXPECT_EQ(conversion_to<float>(DType::F8_E4M3), Conversion::impossible);
  EXPECT_EQ(conversion_to<float>(DType::C64), Conversion::impossible);
}

}  // namespace conversion_test
