#include "moe/gating/relu_routing.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "gating/route.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/layer/layer.hpp"
#include "moe/loss/relu_balance.hpp"
#include "moe/router/router.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace relu_routing_test {

TEST(ReluRouting, ChoosesWhatIsAboveZeroAndWeighsByIt) {
  const Matrix<double> z{{.5, -.2, .1, -1}, {-1, -2, -3, 0}, {2, 3, 4, 1}};
  const auto routing = gating::route(ReluRouting{}, z);
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{0, 2, 0, 1, 2, 3}));
  EXPECT_EQ(routing.choices[1].weight, .1);
  EXPECT_EQ(routing.choices[2].token, 2);
  EXPECT_EQ(routing.choices[4].rank, 0);
  EXPECT_EQ(routing.choices[0].rank, 0);
  EXPECT_EQ(routing.choices[1].rank, 1);
}

TEST(ReluRouting, NaNChoosesNothingAndPaddingNeither) {
  Matrix<double> z{{support::nan_of<double>, 1}, {2, 3}};
  const auto routing = gating::route(ReluRouting{}, z, std::vector<std::uint8_t>{1, 0});
  EXPECT_EQ(gating::experts_of(routing), (std::vector<Index>{1}));
}

TEST(ReluRouting, GradientsOfALayerAreExact) {
  std::mt19937_64 rng{3};
  const Layer layer{Router<double>::random(4, 5, rng), ReluRouting{}, make_experts<Mlp<double>>(4, 5, 6, rng),
                    Losses{ReluBalanceLoss{.coefficient = 0.3, .k = 2}}};
  EXPECT_TRUE(testing::check_layer_gradients(layer, support::random_matrix<double>(9, 5, 1)));
}

// A layer's output goes to 0 with the logit: there is no jump where an expert is chosen.
TEST(ReluRouting, HasNoJump) {
  std::mt19937_64 rng{3};
  auto layer =
      Layer{Router<double>{Matrix<double>{{1, 0}, {0, 1}}}, ReluRouting{}, make_experts<Mlp<double>>(2, 2, 6, rng)};
  const Matrix<double> below = layer.forward(Matrix<double>{{1, -1e-12}}),
                       above = layer.forward(Matrix<double>{{1, 1e-12}});
  EXPECT_LE((below - above).cwiseAbs().maxCoeff(), 1e-10);
}

}  // namespace relu_routing_test
}  // namespace moe
