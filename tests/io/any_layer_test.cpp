#include "moe/io/any_layer.hpp"

#include <gtest/gtest.h>

#include <random>
#include <utility>
#include <vector>

#include "moe/testing/check_gradients.hpp"

namespace any_layer_test {

using moe::Index;
using moe::Matrix;
using Any = moe::io::AnyLayer<double>;

constexpr Index E = 3, D = 4, F = 5, T = 6;

Any layer_with(moe::io::AnyMix<double> mix, moe::io::AnySharedExpert<double> shared, std::mt19937_64& rng) {
  std::vector<moe::io::AnyExpert<double>> experts{moe::ClampedSwiGlu<double>::random(D, F, rng),
                                                  moe::Mlp<double, moe::SquaredRelu>::random(D, F, rng),
                                                  moe::IdentityExpert<double>{}};
  moe::Layer layer{moe::Router<double>::random(E, D, rng), moe::io::AnyGate<double>{moe::ScoredTopK{.k = 2}},
                   std::move(experts)};
  return {std::move(layer), std::move(shared), std::move(mix)};
}

TEST(AnyLayer, WithWhateverIsBesideItTrains) {
  std::mt19937_64 rng{3};
  const Matrix<double> x_TD = moe::random_matrix<double>(T, D, rng);
  const auto shared = moe::ClampedSwiGlu<double>::random(D, F, rng);
  const auto sigmoid = moe::SigmoidMix<double>::random(D, rng);
  EXPECT_TRUE(moe::testing::check_layer_gradients(layer_with({}, moe::ZeroExpert<double>{}, rng), x_TD));
  EXPECT_TRUE(moe::testing::check_layer_gradients(layer_with({sigmoid}, shared, rng), x_TD));
  EXPECT_TRUE(moe::testing::check_layer_gradients(layer_with({sigmoid, 0.8}, shared, rng), x_TD));
}

TEST(AnyLayer, TheMixWeighsLayerAndExpert) {
  std::mt19937_64 rng{3};
  const Matrix<double> x_TD = moe::random_matrix<double>(T, D, rng);
  const auto shared = moe::ClampedSwiGlu<double>::random(D, F, rng);
  const Any any = layer_with({.layer_weight = 0.8}, shared, rng);
  const moe::Shared plain{any.layer, shared};
  const Matrix<double> y_TD = any.layer.forward(x_TD), both_TD = plain.forward(x_TD);
  EXPECT_LE((any.forward(x_TD) - (both_TD - 0.2 * y_TD)).cwiseAbs().maxCoeff(), 1e-14);
}

}  // namespace any_layer_test
