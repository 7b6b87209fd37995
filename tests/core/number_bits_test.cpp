#include "moe/core/number_bits.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace moe {
namespace number_bits_test {

template <class S>
void expect_kinds_of_numbers() {
  using Limits = std::numeric_limits<S>;
  for (const S finite : {S(0), -S(0), S(1), Limits::lowest(), (Limits::max)(), Limits::denorm_min()}) {
    EXPECT_TRUE(detail::has_finite_bits(finite));
    EXPECT_FALSE(detail::has_nan_bits(finite));
  }
  for (const S infinite : {Limits::infinity(), -Limits::infinity()}) {
    EXPECT_FALSE(detail::has_finite_bits(infinite));
    EXPECT_FALSE(detail::has_nan_bits(infinite));
  }
  for (const S no_number : {Limits::quiet_NaN(), -Limits::quiet_NaN()}) {
    EXPECT_FALSE(detail::has_finite_bits(no_number));
    EXPECT_TRUE(detail::has_nan_bits(no_number));
  }
}

TEST(NumberBits, NumbersAreToldByTheirBits) {
  expect_kinds_of_numbers<float>();
  expect_kinds_of_numbers<double>();
  expect_kinds_of_numbers<long double>();
}

template <class S>
void expect_a_mark_of_its_own() {
  S value = 0;
  detail::mark_unwritten(value);
  EXPECT_TRUE(detail::is_unwritten(value));
  EXPECT_TRUE(detail::has_nan_bits(value));
  for (const S other : {S(0), std::numeric_limits<S>::infinity(), std::numeric_limits<S>::quiet_NaN(),
                        std::numeric_limits<S>::signaling_NaN(), std::sqrt(S(-1)),
                        std::numeric_limits<S>::infinity() - std::numeric_limits<S>::infinity()})
    EXPECT_FALSE(detail::is_unwritten(other));
}

TEST(NumberBits, TheMarkOfWhatIsUnwrittenIsNoOtherNaN) {
  expect_a_mark_of_its_own<float>();
  expect_a_mark_of_its_own<double>();
}

}  // namespace number_bits_test
}  // namespace moe
