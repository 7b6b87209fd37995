#include "moe/routing/load.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace moe {
namespace load_test {

/// chosen[e] choices of expert e, by as many tokens.
Plan<float> plan_of(const std::vector<Index>& chosen, const Capacity& capacity = Capacity::unlimited()) {
  std::vector<Choice<float>> choices;
  for (std::size_t e = 0; e < chosen.size(); ++e)
    for (Index i = 0; i < chosen[e]; ++i)
      choices.push_back({static_cast<Index>(choices.size()), static_cast<Index>(e), 1});
  const Matrix<float> x_TD = Matrix<float>::Zero(static_cast<Index>(choices.size()), 1);
  Routing<float> routing;
  routing.reset(x_TD, static_cast<Index>(chosen.size()));
  routing.choices = choices;
  Plan<float> plan;
  plan.build(x_TD, routing, capacity, true);
  return plan;
}

TEST(Load, AnEvenLoadHasNoImbalance) {
  const Load load = load_of(plan_of({3, 3, 3}));
  EXPECT_EQ(load.chosen, (std::vector<Index>{3, 3, 3}));
  EXPECT_EQ(load.dropped, 0);
  EXPECT_EQ(load.max_violation, 0);
  EXPECT_EQ(load.coefficient_of_variation, 0);
  EXPECT_NEAR(load.entropy, std::log(3.0), 1e-15);
}

TEST(Load, AllToOneExpertIsTheGreatestImbalance) {
  const Load load = load_of(plan_of({0, 8, 0, 0}));
  EXPECT_EQ(load.max_violation, 3);
  EXPECT_NEAR(load.coefficient_of_variation, std::sqrt(3.0), 1e-15);
  EXPECT_EQ(load.entropy, 0);
}

TEST(Load, AnUnevenLoadIsMeasuredAgainstItsMean) {
  // Mean 2, standard deviation 1.
  const Load load = load_of(plan_of({3, 1}));
  EXPECT_EQ(load.max_violation, 0.5);
  EXPECT_EQ(load.coefficient_of_variation, 0.5);
  EXPECT_NEAR(load.entropy, -0.75 * std::log(0.75) - 0.25 * std::log(0.25), 1e-15);
}

TEST(Load, BalanceIsThatOfTheChoicesBeforeDropping) {
  const Load load = load_of(plan_of({3, 1}, Capacity::exactly(1)));
  EXPECT_EQ(load.chosen, (std::vector<Index>{3, 1}));
  EXPECT_EQ(load.received, (std::vector<Index>{1, 1}));
  EXPECT_EQ(load.dropped, 2);
  EXPECT_EQ(load.dropped_share, 0.5);
  EXPECT_EQ(load.max_violation, 0.5);
}

TEST(Load, NothingChosenGivesZeros) {
  const Load load = load_of(plan_of({0, 0}));
  EXPECT_EQ(load.received, (std::vector<Index>{0, 0}));
  EXPECT_EQ(load.dropped_share, 0);
  EXPECT_EQ(load.max_violation, 0);
  EXPECT_EQ(load.coefficient_of_variation, 0);
  EXPECT_EQ(load.entropy, 0);
}

TEST(Load, PrintsOnOneLine) {
  std::ostringstream out;
  out << load_of(plan_of({3, 1}, Capacity::exactly(1)));
  EXPECT_EQ(out.str().substr(0, 45), "tokens per expert 1 1; dropped 2 (50 %); MaxV");
  EXPECT_EQ(out.str().find('\n'), std::string::npos);
}

TEST(Load, IsPrintedAsPreciselyAsTheStreamAsksFor) {
  std::ostringstream out;
  out.precision(2);
  out << load_of(plan_of({2, 1}, Capacity::unlimited()));
  EXPECT_NE(out.str().find("MaxVio 0.33, CV 0.33"), std::string::npos) << out.str();
}

TEST(Load, TheSumIsTheLoadOfBothTogether) {
  const Load sum =
      sum_of(load_of(plan_of({3, 1}, Capacity::exactly(2))), load_of(plan_of({0, 4}, Capacity::exactly(2))));
  EXPECT_EQ(sum.chosen, (std::vector<Index>{3, 5}));
  EXPECT_EQ(sum.received, (std::vector<Index>{2, 3}));
  EXPECT_EQ(sum.dropped, 3);
  const Load together = load_of(plan_of({3, 5}));
  EXPECT_EQ(sum.dropped_share, 3. / 8);
  EXPECT_EQ(sum.max_violation, together.max_violation);
  EXPECT_EQ(sum.entropy, together.entropy);
  EXPECT_EQ(sum.coefficient_of_variation, together.coefficient_of_variation);
  EXPECT_EQ(sum_of(Load{}, sum).chosen, sum.chosen);
  EXPECT_EQ(sum_of(sum, Load{}).chosen, sum.chosen);
  EXPECT_THROW(sum_of(sum, load_of(plan_of({1}))), std::invalid_argument);
}

}  // namespace load_test
}  // namespace moe
