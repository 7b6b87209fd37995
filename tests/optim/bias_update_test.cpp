#include "moe/optim/bias_update.hpp"

#include <gtest/gtest.h>

#include "support/expect_invalid.hpp"

namespace moe {
namespace bias_update_test {

Load counted(std::vector<Index> chosen) {
  Load load;
  load.chosen = std::move(chosen);
  return load;
}

TEST(BiasUpdate, TowardsTheExpertsThatGotTooLittle) {
  Vector<double> bias;
  update_bias(bias, counted({1, 5, 3}), {.rate = .1});  // the mean is 3: its sign is 0
  EXPECT_EQ(bias, (Vector<double>{{.1, -.1, 0}}));
}

TEST(BiasUpdate, ACentredStepDoesNotDrift) {
  Vector<double> bias = Vector<double>::Zero(3);
  update_bias(bias, counted({9, 0, 0}), {.rate = .3, .centered = true});  // -.3, .3, .3 less their mean .1
  EXPECT_NEAR(bias.sum(), 0, 1e-15);
  EXPECT_NEAR(bias(0), -.4, 1e-15);
}

TEST(BiasUpdate, AnotherNumberOfExpertsIsRefused) {
  Vector<double> bias = Vector<double>::Zero(2);
  support::expect_invalid([&] { update_bias(bias, counted({1, 2, 3})); }, {"2 biases for 3"});
}

}  // namespace bias_update_test
}  // namespace moe
