#include "moe/gating/logit_against_zero.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace moe {
namespace logit_against_zero_test {

/// The fates of choices of expert 0 by the first tokens of four, in the order of their logits.
std::vector<Fate> fates(const std::vector<double>& logits, Index capacity) {
  const Matrix<double> x_TD = Matrix<double>::Zero(4, 1);
  const Batch<double> batch = x_TD;
  Routing<double> routing;
  routing.reset(batch, 1);
  routing.logits_TE.setZero();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    routing.logits_TE(static_cast<Index>(i), 0) = logits[i];
    routing.choices.push_back({static_cast<Index>(i), 0, 1});
  }
  detail::lose_against_zero(batch, routing, Capacity::exactly(capacity), true);
  std::vector<Fate> result;
  for (const auto& choice : routing.choices) result.push_back(choice.fate);
  return result;
}

// Three tokens chose the expert and one did not, whose 0 comes before the negative logits.
TEST(LogitAgainstZero, NegativeLogitsComeAfterTheTokensThatDidNotChoose) {
  EXPECT_EQ(fates({2, -1, -3}, 4), (std::vector<Fate>{Fate::sent, Fate::sent, Fate::sent}));
  EXPECT_EQ(fates({2, -1, -3}, 3), (std::vector<Fate>{Fate::sent, Fate::sent, Fate::unsent}));
  EXPECT_EQ(fates({2, -1, -3}, 2), (std::vector<Fate>{Fate::sent, Fate::unsent, Fate::unsent}));
  EXPECT_EQ(fates({2, -1, -3}, 1), (std::vector<Fate>{Fate::sent, Fate::unsent, Fate::unsent}));
}

TEST(LogitAgainstZero, OtherLogitsAreLeftToTheCapacity) {
  EXPECT_EQ(fates({2, 1, 0}, 1), (std::vector<Fate>{Fate::sent, Fate::sent, Fate::sent}));
}

}  // namespace logit_against_zero_test
}  // namespace moe
