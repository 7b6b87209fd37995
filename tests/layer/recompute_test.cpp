#include "moe/layer/recompute.hpp"

#include <gtest/gtest.h>

#include <random>
#include <stdexcept>
#include <vector>

#include "layer/some_experts.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/expert/variant_expert.hpp"
#include "moe/report/cost.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace recompute_test {

using layer_experts::Whole;

/// The passes of two layers, the second on the first one's output, forward and then backward.
template <class X>
std::vector<Vector<double>> passes_of_two_layers(const std::vector<X>& experts, bool recompute) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(static_cast<Index>(experts.size()), 8, rng), TopK{.k = 2}, experts};
  const Matrix<float> x_TD = support::random_matrix<float>(12, 8, 2);
  typename decltype(layer)::Tape first(3), second(4);
  std::vector<typename X::Tape> shared_tapes;
  if (recompute) first.recompute_in = second.recompute_in = &shared_tapes;
  auto first_gradient = zeros_like(layer), second_gradient = first_gradient;
  const Matrix<float> h_TD = layer.forward(x_TD, first), y_TD = layer.forward(h_TD, second);
  const Matrix<float> dh_TD = layer.backward(h_TD, y_TD, second, second_gradient);
  const Matrix<float> dx_TD = layer.backward(x_TD, dh_TD, first, first_gradient);
  EXPECT_EQ(shared_tapes.size(), recompute ? experts.size() : 0);
  return {y_TD.reshaped().template cast<double>(), dx_TD.reshaped().template cast<double>(), flatten(first_gradient),
          flatten(second_gradient)};
}

TEST(Recompute, RecomputedActivationsGiveTheSameBits) {
  std::mt19937_64 rng(1);
  const auto same = [](const auto& experts) {
    EXPECT_EQ(passes_of_two_layers(experts, true), passes_of_two_layers(experts, false));
  };
  const ExpertOptions dropping{.bias = true, .dropout = 0.5};
  const auto mlps = make_experts<Mlp<float>>(3, 8, 20, rng, dropping);
  same(mlps);
  same(make_experts<SwiGlu<float>>(3, 8, 20, rng, dropping));
  same(std::vector<Whole<Mlp<float>>>{{mlps[0]}, {mlps[1]}, {mlps[2]}});
  using Any = VariantExpert<float, Mlp<float>, SwiGlu<float>, Whole<Mlp<float>>>;
  same(std::vector<Any>{mlps[0], SwiGlu<float>::random(8, 20, rng, dropping), Whole<Mlp<float>>{mlps[2]}});
}

TEST(Recompute, RecomputingKeepsNoActivationsInTheTape) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(2, 8, rng), TopK{.k = 2}, make_experts<Mlp<float>>(2, 8, 20, rng)};
  typename decltype(layer)::Tape tape(1);
  std::vector<Mlp<float>::Tape> shared_tapes;
  tape.recompute_in = &shared_tapes;
  layer.forward(support::random_matrix<float>(5, 8, 2), tape);
  EXPECT_EQ(tape.experts[0].hidden_NF.size(), 0);
  EXPECT_EQ(shared_tapes[0].hidden_NF.size(), 100);
}

// What an earlier pass kept, or other tapes hold, would be taken for this pass's.
TEST(Recompute, BackwardWantsTheTapesOfTheForwardPass) {
  std::mt19937_64 rng(1);
  const Layer layer{Router<float>::random(2, 8, rng), TopK{.k = 2}, make_experts<Mlp<float>>(2, 8, 20, rng)};
  const Matrix<float> x_TD = support::random_matrix<float>(5, 8, 2);
  typename decltype(layer)::Tape tape(1);
  std::vector<Mlp<float>::Tape> shared_tapes;
  auto gradient = zeros_like(layer);
  Matrix<float> dx_TD = Matrix<float>::Constant(5, 8, 7);
  layer.forward(x_TD, tape);
  tape.recompute_in = &shared_tapes;
  EXPECT_THROW(layer.backward_into(x_TD, x_TD, tape, dx_TD, gradient), std::invalid_argument);
  EXPECT_EQ(dx_TD(0, 0), 7);
  layer.forward(x_TD, tape);
  EXPECT_EQ(tape.experts[0].hidden_NF.size(), 0);
  tape.recompute_in = nullptr;
  EXPECT_THROW(layer.backward_into(x_TD, x_TD, tape, dx_TD, gradient), std::invalid_argument);
}

// The tape then has no expert's activations, of no type.
TEST(Recompute, TheCostOfARecomputedPassIsThatOfAKeptOne) {
  std::mt19937_64 rng(1);
  using Any = VariantExpert<float, Mlp<float>, SwiGlu<float>>;
  const Layer layer{Router<float>::random(2, 8, rng), TopK{.k = 2},
                    std::vector<Any>{Mlp<float>::random(8, 20, rng), SwiGlu<float>::random(8, 20, rng)}};
  const Matrix<float> x_TD = support::random_matrix<float>(5, 8, 2);
  typename decltype(layer)::Tape kept(1), recomputed(1);
  std::vector<Any::Tape> shared_tapes;
  recomputed.recompute_in = &shared_tapes;
  layer.forward(x_TD, kept);
  layer.forward(x_TD, recomputed);
  EXPECT_EQ(cost_of(layer, kept).multiply_adds, cost_of(layer, recomputed).multiply_adds);
}

TEST(Recompute, ExpertsThatAreLayersAreNotRecomputed) {
  std::mt19937_64 rng(1);
  using Inner = Layer<Router<float>, TopK, Mlp<float>>;
  const Inner inner{Router<float>::random(2, 8, rng), TopK{.k = 2}, make_experts<Mlp<float>>(2, 8, 20, rng)};
  const Layer layer{Router<float>::random(2, 8, rng), TopK{.k = 2}, std::vector<Inner>{inner, inner}};
  typename decltype(layer)::Tape tape(1);
  std::vector<Inner::Tape> shared_tapes;
  tape.recompute_in = &shared_tapes;
  EXPECT_THROW(layer.forward(support::random_matrix<float>(5, 8, 2), tape), std::invalid_argument);
}

}  // namespace recompute_test
}  // namespace moe
