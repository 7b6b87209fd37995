#include "moe/objective/token_slots.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace moe {
namespace token_slots_test {

/// Token 0 goes to both experts, token 1 nowhere, token 2 to expert 1.
Plan<double> example() {
  const Matrix<double> x_TD = Matrix<double>::Zero(3, 1);
  Routing<double> routing;
  routing.reset(x_TD, 2);
  routing.choices = {{0, 0, 0.25}, {0, 1, 0.75}, {2, 1, 1.0}};
  Plan<double> plan;
  plan.build(x_TD, routing, Capacity::unlimited(), true);
  return plan;
}

TEST(TokenSlots, TokensWithoutSlotsAreLeftOut) {
  std::vector<Index> tokens, slots;
  detail::for_each_token_with_slots(example(), [&](Index t, const Index* begin, const Index* end) {
    tokens.push_back(t);
    slots.push_back(end - begin);
  });
  EXPECT_EQ(tokens, (std::vector<Index>{0, 2}));
  EXPECT_EQ(slots, (std::vector<Index>{2, 1}));
}

TEST(TokenSlots, AMixtureNeedsNoFitThatIsNearZero) {
  const auto plan = example();
  const Vector<double> fit_N{{-1e6, -1e6 - std::log(3.0), -5}};
  const Index* slots = plan.token_slots.data();
  const double log_likelihood = detail::log_mixture(plan, fit_N, slots, slots + 2);
  EXPECT_NEAR(log_likelihood, -1e6 + std::log(0.5), 1e-9);
  Vector<double> share_N = fit_N;
  detail::make_responsibilities(plan, slots, slots + 2, log_likelihood, share_N);
  EXPECT_NEAR(share_N(0), 0.5, 1e-9);
  EXPECT_NEAR(share_N(1), 0.5, 1e-9);
}

}  // namespace token_slots_test
}  // namespace moe
