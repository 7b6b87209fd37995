#include "moe/io/number_format.hpp"

#include <gtest/gtest.h>

namespace number_format_test {

using moe::io::format_of;
using moe::io::NumberFormat;

TEST(NumberFormat, AllCanBeWritten) {
  for (const NumberFormat format :
       {NumberFormat::f64, NumberFormat::f32, NumberFormat::f16, NumberFormat::bf16, NumberFormat::q8_0}) {
    ASSERT_TRUE(format_of(format));
    EXPECT_NE(format_of(format)->from_doubles, nullptr);
  }
  EXPECT_FALSE(format_of(NumberFormat::as_stored));
  EXPECT_EQ(format_of(NumberFormat::bf16)->name, "BF16");
  EXPECT_EQ(format_of(NumberFormat::q8_0)->bytes, 34u);
}

}  // namespace number_format_test
