#include "moe/core/text.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>

namespace moe {
namespace text_test {

using detail::joined;
using detail::joined_to;

TEST(Text, JoinsWordsAndNumbersInTheirOrder) {
  const std::string words = "rows";
  EXPECT_EQ(joined(-3, " ", words, ", ", 2u, std::string_view(" wanted")), "-3 rows, 2 wanted");
  EXPECT_EQ(joined(true, false), "10");
  EXPECT_EQ(joined((std::numeric_limits<unsigned long long>::max)()), "18446744073709551615");
  EXPECT_EQ(joined(std::numeric_limits<long long>::lowest()), "-9223372036854775808");
}

TEST(Text, NumbersHaveAsManyDigitsAsAreWanted) {
  EXPECT_EQ(joined(1.0 / 3, " ", 0.1f, " ", 2.5L), "0.333333 0.1 2.5");
  EXPECT_EQ(joined_to(3, 1.0 / 3, " ", 1e-20), "0.333 1e-20");
  EXPECT_EQ(joined_to(17, 0.1), "0.10000000000000001");
}

template <class S>
void expect_no_finite_numbers() {
  const S nan = std::numeric_limits<S>::quiet_NaN(), infinity = std::numeric_limits<S>::infinity();
  EXPECT_EQ(joined(nan, " ", infinity, " ", -infinity), "nan inf -inf");
}

TEST(Text, NaNAndInfinityAreWords) {
  expect_no_finite_numbers<float>();
  expect_no_finite_numbers<double>();
  expect_no_finite_numbers<long double>();
}

}  // namespace text_test
}  // namespace moe
