#include "moe/gating/softmax.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gating/route.hpp"

namespace moe {
namespace softmax_test {

const Matrix<double> logits_TE{{std::log(1.0), std::log(3.0)}, {0, 0}};

TEST(SoftmaxGate, EveryTokenGoesToEveryExpertWithItsProbability) {
  const auto routing = gating::route(Softmax{}, logits_TE);
  EXPECT_EQ(gating::tokens_of(routing), (std::vector<Index>{0, 1, 0, 1}));
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{1, 0, 0, 1}));
  const auto weights = gating::weights_of(routing);
  EXPECT_NEAR(weights[0], 0.75, 1e-15);
  EXPECT_NEAR(weights[2], 0.25, 1e-15);
  EXPECT_EQ(weights[1], 0.5);
  EXPECT_EQ(routing.choices_per_token, 2);
}

TEST(SoftmaxGate, OneExpertIsEnough) {
  EXPECT_EQ(gating::weights_of(gating::route(Softmax{}, Matrix<float>{{7}})), (std::vector<float>{1}));
}

TEST(SoftmaxGate, TheGradientIsThatOfASoftmax) {
  // Token 0, p = (1/4, 3/4), dp = (0, 1): J dp = (-3/16, 3/16). The first choice is that of expert 1.
  const auto routing = gating::route(Softmax{}, logits_TE);
  const auto drouting = gating::backward(Softmax{}, routing, {1, 0, 0, 0});
  EXPECT_TRUE(drouting.logits_TE.isApprox(Matrix<double>{{-3.0 / 16, 3.0 / 16}, {0, 0}}, 1e-14));
}

}  // namespace softmax_test
}  // namespace moe
