#include "moe/gating/expert_choice_keys.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/matrices.hpp"

namespace moe {
namespace expert_choice_keys_test {

template <class S>
Routing<S> routing_of(const Matrix<S>& logits_TE) {
  const Matrix<S> x_TD = Matrix<S>::Zero(logits_TE.rows(), 1);
  Routing<S> routing;
  routing.reset(x_TD, logits_TE.cols());
  routing.logits_TE = logits_TE;
  return routing;
}

TEST(ExpertChoiceKeys, AreLogOddsOfTheProbabilities) {
  auto routing = routing_of(Matrix<double>{{0, 1, 2}, {3, -1, 0.5}});
  Buffer<Matrix<double>> key_TE;
  detail::measure_tokens(routing, key_TE);
  for (Index t = 0; t < 2; ++t)
    for (Index e = 0; e < 3; ++e) {
      const double p = routing.probabilities_TE(t, e);
      EXPECT_NEAR(key_TE(t, e), std::log(p / (1 - p)), 1e-12);
    }
}

TEST(ExpertChoiceKeys, DifferWhereProbabilitiesRoundToOneOrToZero) {
  auto routing = routing_of(Matrix<float>{{60, 0}, {70, 0}, {-200, 0}, {-210, 0}});
  Buffer<Matrix<float>> key_TE;
  detail::measure_tokens(routing, key_TE);
  EXPECT_EQ(routing.probabilities_TE(0, 0), routing.probabilities_TE(1, 0));
  EXPECT_LT(key_TE(0, 0), key_TE(1, 0));
  EXPECT_EQ(routing.probabilities_TE(2, 0), routing.probabilities_TE(3, 0));
  EXPECT_GT(key_TE(2, 0), key_TE(3, 0));
}

TEST(ExpertChoiceKeys, SoftmaxesOverTokensSkipNaN) {
  const double nan = support::nan_of<double>;
  auto routing = routing_of(Matrix<double>{{0, 0}, {nan, 1}, {std::log(3.), 0}});
  const std::vector<Index> tokens{0, 1, 2};
  Buffer<Matrix<double>> columns;
  columns.resize(2, 3);
  detail::measure_experts(routing, tokens.data(), 0, columns);
  EXPECT_NEAR(routing.probabilities_TE(0, 0), 0.25, 1e-15);
  EXPECT_NEAR(routing.probabilities_TE(2, 0), 0.75, 1e-15);
  EXPECT_TRUE(std::isnan(routing.probabilities_TE(1, 0)));
  EXPECT_NEAR(routing.probabilities_TE.col(1).sum(), 1, 1e-15);
}

}  // namespace expert_choice_keys_test
}  // namespace moe
