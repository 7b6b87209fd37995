#include "moe/gating/variable_top_k.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "gating/route.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/top_k.hpp"
#include "support/bits.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace variable_top_k_test {

TEST(VariableTopK, EachTokenChoosesItsOwnNumber) {
  const Matrix<double> logits{{3, 2, 1}, {1, 2, 3}, {2, 3, 1}};
  const auto routing = gating::route(VariableTopK{.k_T = {2, 0, 3}}, logits);
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0, 2, 0, 2, 2}));
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 1, 1, 0, 2}));
  EXPECT_NEAR(routing.choices[0].weight + routing.choices[2].weight, 1, 1e-15);
  EXPECT_EQ(routing.choices_per_token, 0);
}

TEST(VariableTopK, OfOneNumberIsTopK) {
  std::mt19937_64 rng(1);
  const auto logits = random_matrix<double>(9, 5, rng);
  using W = ChoiceWeights;
  for (const TopK& top_k : {TopK{.k = 2}, TopK{.k = 2, .weights = W::probabilities()},
                            TopK{.k = 2, .weights = W::renormalized({.epsilon = .1, .norm = 2})},
                            TopK{.k = 2, .weights = W::renormalized({.epsilon = Epsilon::floor(.9)})}}) {
    const auto plain = gating::route(top_k, logits);
    const auto variable = gating::route(VariableTopK{std::vector<Index>(9, 2), top_k.weights}, logits);
    EXPECT_EQ(gating::tokens_of(variable), gating::tokens_of(plain));
    EXPECT_EQ(gating::experts_of(variable), gating::experts_of(plain));
    EXPECT_EQ(gating::weights_of(variable), gating::weights_of(plain));
  }
}

TEST(VariableTopK, PaddingChoosesNothing) {
  const std::vector<std::uint8_t> valid{1, 0};
  const auto routing = gating::route(VariableTopK{.k_T = {1, 2}}, Matrix<double>(Matrix<double>::Zero(2, 3)), valid);
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0}));
}

TEST(VariableTopK, NumbersThatDoNotFitAreRefused) {
  support::expect_invalid([] { (VariableTopK{.k_T = {1, 4}}.check(3)); }, {"k of token 1 is 4", "0 .. 3"});
  support::expect_invalid([] { (VariableTopK{.k_T = {-1}}.check(3)); }, {"k of token 0 is -1"});
  support::expect_invalid([] { gating::route(VariableTopK{.k_T = {1}}, Matrix<double>(Matrix<double>::Zero(2, 3))); },
                          {"1 k for 2 tokens"});
}

}  // namespace variable_top_k_test
}  // namespace moe
