#include "moe/loss/noise_tail.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace moe {
namespace noise_tail_test {

TEST(NoiseTail, OfTheNormalDistribution) {
  EXPECT_EQ(detail::noise_tail(Distribution::normal, 0.0), 0.5);
  EXPECT_NEAR(detail::noise_tail(Distribution::normal, 1.959963984540054), 0.975, 1e-12);
  EXPECT_NEAR(detail::noise_density(Distribution::normal, 0.0), 1 / std::sqrt(2 * std::acos(-1.0)), 1e-15);
}

TEST(NoiseTail, OfTheGumbelDistribution) {
  // P(G > -u) = 1 - exp(-exp(u))
  EXPECT_NEAR(detail::noise_tail(Distribution::gumbel, 0.0), 1 - std::exp(-1.0), 1e-15);
  EXPECT_NEAR(detail::noise_density(Distribution::gumbel, 0.0), std::exp(-1.0), 1e-15);
}

TEST(NoiseTail, TheDensityIsItsDerivative) {
  for (const auto distribution : {Distribution::normal, Distribution::gumbel})
    for (const double u : {-2.0, -0.3, 0.0, 1.1}) {
      const double step = 1e-5;
      const double slope =
          (detail::noise_tail(distribution, u + step) - detail::noise_tail(distribution, u - step)) / (2 * step);
      EXPECT_NEAR(detail::noise_density(distribution, u), slope, 1e-9) << u;
    }
}

TEST(NoiseTail, WhatIsMaskedNeverExceeds) {
  for (const auto distribution : {Distribution::normal, Distribution::gumbel}) {
    EXPECT_EQ(detail::noise_tail(distribution, -1e30), 0);
    EXPECT_EQ(detail::noise_density(distribution, -1e30), 0);
  }
}

}  // namespace noise_tail_test
}  // namespace moe
