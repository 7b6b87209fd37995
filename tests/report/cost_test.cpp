#include "moe/report/cost.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "moe/expert/glu.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "moe/expert/variant_expert.hpp"
#include "moe/expert/zero_computation.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/shared.hpp"
#include "moe/layer/soft_layer.hpp"
#include "moe/router/router.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"
#include "support/one_thread.hpp"

namespace moe {
namespace cost_test {

constexpr Index width = 4, hidden = 6, tokens = 10;
const TopK top1{.k = 1, .weights = ChoiceWeights::uniform()};

auto top2_layer() {
  std::mt19937_64 generator{1};
  return Layer{Router<float>::random(5, width, generator), TopK{.k = 2},
               make_experts<Mlp<float>>(5, width, hidden, generator, ExpertOptions{.bias = true})};
}

template <class L>
Cost cost_of_pass(const L& layer, Index rows = tokens) {
  typename L::Tape tape;
  layer.forward(support::random_matrix<float>(rows, width, 2), tape);
  return cost_of(layer, tape);
}

TEST(Cost, OfTopTwoOfFiveExperts) {
  const Cost cost = cost_of_pass(top2_layer());
  const Index router = 5 * 4, weights = 2 * 4 * 6, expert = weights + 6 + 4;
  EXPECT_EQ(cost.tokens, 10);
  EXPECT_EQ(cost.parameters, router + 5 * expert);
  EXPECT_EQ(cost.bytes, 4 * cost.parameters);
  EXPECT_EQ(cost.active_parameters(), router + 2 * expert);
  EXPECT_EQ(cost.multiply_adds_per_token(), router + 2 * weights);
}

TEST(Cost, ExpertsWithoutTokensAreNotRead) {
  const Cost cost = cost_of_pass(top2_layer(), 1);
  EXPECT_EQ(cost.bytes_used, 4 * (20 + 2 * 58));
  const Cost none = cost_of_pass(top2_layer(), 0);
  EXPECT_EQ(none.tokens, 0);
  EXPECT_EQ(none.parameters, cost.parameters);
  EXPECT_EQ(none.bytes_used, 0);
  EXPECT_EQ(none.active_parameters(), 0);
  EXPECT_EQ(none.multiply_adds_per_token(), 0);
}

TEST(Cost, PaddingDoesNotCount) {
  const auto layer = top2_layer();
  const std::vector<std::uint8_t> mask{1, 1, 0, 1, 0, 0, 1, 1, 1, 0};
  const auto x = support::random_matrix<float>(tokens, width, 2);
  Batch<float> batch(x);
  batch.valid = mask;
  decltype(layer)::Tape tape;
  layer.forward(batch, tape);
  const Cost cost = cost_of(layer, tape);
  EXPECT_EQ(cost.tokens, 6);
  EXPECT_EQ(cost.active_parameters(), 20 + 2 * 58);
}

// Token 0 goes to the first expert, 1 and 2 to the second, ...: by logits that are the input.
using Any = VariantExpert<float, Mlp<float>, SwiGlu<float>, ZeroExpert<float>, IdentityExpert<float>>;

auto mixed_layer() {
  std::mt19937_64 generator{1};
  std::vector<Any> experts{Mlp<float>::random(width, 3, generator), SwiGlu<float>::random(width, 7, generator),
                           ZeroExpert<float>{}, IdentityExpert<float>{}};
  return Layer{Router<float>{Matrix<float>::Identity(4, width)}, top1, std::move(experts)};
}

TEST(Cost, OfExpertsOfDifferentTypesAndWidths) {
  const auto layer = mixed_layer();
  decltype(layer)::Tape tape;
  layer.forward(Matrix<float>{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}, tape);
  const Cost cost = cost_of(layer, tape);
  EXPECT_EQ(cost.parameters, 16 + 24 + 84);
  EXPECT_EQ(cost.multiply_adds, 5 * 16 + 1 * 24 + 2 * 84);
  EXPECT_EQ(cost.parameter_uses, cost.multiply_adds);
  layer.forward(Matrix<float>{{0, 0, 1, 0}}, tape);
  EXPECT_EQ(cost_of(layer, tape).multiply_adds, 16);
  EXPECT_EQ(cost_of(layer, tape).bytes_used, 4 * 16);
}

TEST(Cost, OfASharedExpert) {
  std::mt19937_64 generator{3};
  const Shared shared{top2_layer(), SwiGlu<float>::random(width, 3, generator),
                      SigmoidMix<float>::random(width, generator)};
  const Cost cost = cost_of_pass(shared), routed = cost_of_pass(shared.layer);
  EXPECT_EQ(cost.parameters, routed.parameters + 36 + 4);
  EXPECT_EQ(cost.active_parameters(), routed.active_parameters() + 36 + 4);
  EXPECT_EQ(cost.multiply_adds_per_token(), routed.multiply_adds_per_token() + 36 + 4);
}

TEST(Cost, OfALayerOfLayers) {
  std::mt19937_64 generator{3};
  const Layer outer{Router<float>::random(3, width, generator), top1, std::vector(3, top2_layer())};
  const Cost cost = cost_of_pass(outer);
  EXPECT_EQ(cost.active_parameters(), 3 * 4 + 20 + 2 * 58);
  EXPECT_EQ(cost.parameters, parameter_count(outer));
}

TEST(Cost, OfASoftLayer) {
  std::mt19937_64 generator{3};
  const SoftLayer<float, Mlp<float>> soft{random_matrix<float>(4, width, generator),
                                          make_experts<Mlp<float>>(2, width, hidden, generator)};
  const Cost cost = cost_of_pass(soft);
  EXPECT_EQ(cost.active_parameters(), 4 * 4 + 2 * 48);
  EXPECT_EQ(cost.multiply_adds, 3 * 10 * 4 * 4 + 4 * 48);  // every slot is one row of an expert
}

/// Has weights, but uses only some of them.
struct Sparse {
  Matrix<float> weight_DD = Matrix<float>::Identity(width, width);
  struct Tape {};
  Index multiply_adds() const { return width; }
  void forward(ConstMatrixRef<float> x, MatrixRef<float> y, Tape&) const { y = x * weight_DD.diagonal().asDiagonal(); }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("weight", self.weight_DD...);
  }
};

/// Without names of parameters.
struct Nameless {
  struct Tape {};
  void forward(ConstMatrixRef<float> x, MatrixRef<float> y, Tape&) const { y = x; }
};

TEST(Cost, OfAnExpertOfOnesOwn) {
  std::mt19937_64 generator{1};
  const auto router = Router<float>::random(2, width, generator);
  EXPECT_EQ(cost_of_pass(Layer{router, top1, std::vector<Sparse>(2)}).multiply_adds_per_token(), 8 + 4);
  EXPECT_EQ(cost_of_pass(Layer{router, top1, std::vector<Nameless>(2)}).parameters, 8);
}

TEST(Cost, IsPrinted) {
  std::ostringstream text;
  text << cost_of_pass(top2_layer());
  EXPECT_EQ(text.str(),
            "310 parameters (1240 bytes), 136 (43.871 %) active for a token; 116 multiply-adds a token; 10 tokens used "
            "1240 bytes of them");
}

TEST(Cost, ATapeOfFewerExpertsIsRefused) {
  auto layer = top2_layer();
  decltype(layer)::Tape tape;
  layer.forward(support::random_matrix<float>(tokens, width, 2), tape);
  layer.router = Router<float>::zeros(6, width);
  layer.experts.push_back(layer.experts[0]);
  support::expect_invalid([&] { cost_of(layer, tape); }, {"a pass of 5 experts", "6"});
}

template <class SomeLayer>
void expect_own_tape_needed(const SomeLayer& layer) {
  const SomeLayer other = layer;  // a copy is another layer
  typename SomeLayer::Tape tape;
  layer.forward(support::random_matrix<float>(tokens, width, 2), tape);
  EXPECT_GT(cost_of(layer, tape).multiply_adds, 0);
  support::expect_invalid([&] { cost_of(other, tape); }, {"cost_of", "another layer's"});
}

TEST(Cost, ATapeOfAnotherLayerOfTheSameShapeIsRefused) {
  std::mt19937_64 generator{3};
  const auto bag = make_experts<Mlp<float>>(2, width, hidden, generator);
  expect_own_tape_needed(top2_layer());
  expect_own_tape_needed(Shared{top2_layer(), bag[0]});
  expect_own_tape_needed(SoftLayer<float, Mlp<float>>{random_matrix<float>(4, width, generator), bag});
  expect_own_tape_needed(
      Layer{Router<float>::random(2, width, generator), top1, std::vector{top2_layer(), top2_layer()}});
}

TEST(Cost, ATapeWithoutAPassIsRefused) {
  const auto layer = top2_layer();
  const decltype(layer)::Tape tape;
  support::expect_invalid([&] { cost_of(layer, tape); }, {"the tape holds no forward pass"});
}

}  // namespace cost_test
}  // namespace moe
