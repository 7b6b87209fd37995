#include "moe/routing/dispatch_options.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace dispatch_options_test {

using support::expect_invalid;

TEST(DispatchOptions, ACapacityAloneConverts) {
  const DispatchOptions options = Capacity::exactly(3);
  EXPECT_EQ(options.capacity.slots(100, 100, 4, true), 3);
  EXPECT_NO_THROW(options.check());
}

TEST(DispatchOptions, AFloorThatIsNotPositiveIsRefused) {
  DispatchOptions options;
  for (const double floor : {0.0, -1.0, support::nan_of<double>}) {
    options.renormalize_floor = floor;
    expect_invalid([&] { options.check(); }, {"renormalize_floor is", "more than 0"});
  }
}

TEST(DispatchOptions, StraightThroughNeedsWeightsOnTheOutput) {
  DispatchOptions options;
  options.straight_through = true;
  EXPECT_NO_THROW(options.check());
  options.weigh_input = true;
  expect_invalid([&] { options.check(); }, {"straight_through", "weigh_input"});
}

/// Four tokens: finite, NaN, infinite, and padding that is NaN.
struct Example {
  Matrix<float> x_TD = Matrix<float>::Zero(4, 1);
  std::vector<std::uint8_t> valid{1, 1, 1, 0};
  Routing<float> routing;

  Example() {
    Batch<float> batch = x_TD;
    batch.valid = valid;
    routing.reset(batch, 2);
    const float nan = support::nan_of<float>, infinity = support::infinity_of<float>;
    routing.logits_TE = Matrix<float>{{1, 2}, {1, nan}, {-infinity, 0}, {nan, nan}};
  }
};

TEST(HandleNonFinite, PropagateLeavesTheTokens) {
  Example example;
  detail::handle_non_finite(NonFinite::propagate, example.routing);
  EXPECT_EQ(example.routing.valid_tokens, 3);
}

TEST(HandleNonFinite, ZeroRowMakesThemPadding) {
  Example example;
  detail::handle_non_finite(NonFinite::zero_row, example.routing);
  EXPECT_EQ(example.routing.valid_tokens, 1);
  EXPECT_TRUE(example.routing.is_valid(0));
  for (const Index t : {1, 2, 3}) EXPECT_FALSE(example.routing.is_valid(t)) << t;
}

TEST(HandleNonFinite, RefuseNamesTheFirst) {
  Example example;
  expect_invalid([&] { detail::handle_non_finite(NonFinite::refuse, example.routing); }, {"token 1", "not finite"});
}

TEST(HandleNonFinite, PaddingIsNotRead) {
  Example example;
  example.routing.logits_TE.topRows(3).setZero();
  EXPECT_NO_THROW(detail::handle_non_finite(NonFinite::refuse, example.routing));
}

TEST(DispatchOptions, WeightsThatAreAlwaysOneAreRefusedUnlessTheyAreMeant) {
  DispatchOptions options;
  EXPECT_NO_THROW(options.check(4, 1));
  options.renormalize_kept = true;
  expect_invalid([&] { options.check(4, 1); }, {"renormalize_kept", "always 1", "allow_constant_weights"});
  EXPECT_NO_THROW(options.check(4, 2));
  EXPECT_NO_THROW(options.check(1, 1));
  options.allow_constant_weights = true;
  EXPECT_NO_THROW(options.check(4, 1));
}

}  // namespace dispatch_options_test
}  // namespace moe
