// Experts without tokens, tokens without experts, and everything to one expert.
#include <gtest/gtest.h>

#include "moe/moe.hpp"
#include "reliability/small_layer.hpp"

namespace moe {
namespace unused_experts_test {

using namespace reliability;

/// Every token of positive entries prefers expert 2, then expert 0.
Router<float> biased_router() {
  Router<float> router = Router<float>::zeros(experts, width);
  router.weight_ED.row(2).setConstant(2);
  router.weight_ED.row(0).setConstant(1);
  return router;
}

const Matrix<float> x_TD = support::random_matrix<float>(7, width, 3).cwiseAbs();
const Matrix<float> dy_TD = support::random_matrix<float>(7, width, 4);

template <class X>
bool is_zero(const X& gradient) {
  return support::same_parameters(gradient, zeros_like(gradient));
}

TEST(UnusedExperts, HaveAGradientOfExactlyZero) {
  const Layer layer{biased_router(), TopK{.k = 2}, small_experts<SwiGlu<float>>()};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  layer.forward(x_TD, tape);
  layer.backward(x_TD, dy_TD, tape, gradient);
  EXPECT_FALSE(is_zero(gradient.experts[0]));
  EXPECT_TRUE(is_zero(gradient.experts[1]));
  EXPECT_FALSE(is_zero(gradient.experts[2]));
  EXPECT_TRUE(is_zero(gradient.experts[3]));
}

TEST(UnusedExperts, KeepTheirZeroGradientOnAPoisonedTape) {
  const Layer layer{biased_router(), TopK{.k = 2}, small_experts<SwiGlu<float>>()};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  // A pass in which every expert has tokens leaves tensors on the tape, which then are all NaN.
  const Layer even{small_router(), Softmax{}, layer.experts};
  decltype(even)::Tape even_tape;
  auto even_gradient = zeros_like(even);
  even.forward(x_TD, even_tape);
  even.backward(x_TD, dy_TD, even_tape, even_gradient);
  tape = even_tape;
  poison_tape(tape);
  for (auto& expert_tape : tape.experts)
    for (auto* matrix :
         {&expert_tape.gate_NF, &expert_tape.up_NF, &expert_tape.hidden_NF, &expert_tape.dgate_NF, &expert_tape.dup_NF})
      support::poison(*matrix);

  decltype(layer)::Tape fresh;
  auto expected = zeros_like(layer);
  const Matrix<float> y_TD = layer.forward(x_TD, fresh);
  const Matrix<float> dx_TD = layer.backward(x_TD, dy_TD, fresh, expected);
  EXPECT_TRUE(support::same_bits(layer.forward(x_TD, tape), y_TD));
  EXPECT_TRUE(support::same_bits(layer.backward(x_TD, dy_TD, tape, gradient), dx_TD));
  EXPECT_TRUE(support::same_parameters(gradient, expected));
  EXPECT_TRUE(is_zero(gradient.experts[1]));
}

TEST(UnusedExperts, AllTokensToOneExpertIsThatExpert) {
  const Layer layer{biased_router(), TopK{.k = 1, .weights = ChoiceWeights::uniform()}, small_experts<SwiGlu<float>>()};
  decltype(layer)::Tape tape;
  Matrix<float> alone(x_TD.rows(), width);
  SwiGlu<float>::Tape expert_tape;
  layer.experts[2].forward(x_TD, alone, expert_tape);
  EXPECT_TRUE(support::same_bits(layer.forward(x_TD, tape), alone));
  EXPECT_EQ(load_of(tape.plan).received, (std::vector<Index>{0, 0, 7, 0}));
  EXPECT_EQ(load_of(tape.plan).max_violation, 3);
}

TEST(UnusedExperts, AllTokensToOneExpertAreDroppedBeyondItsCapacity) {
  const Layer layer{biased_router(), TopK{.k = 1, .weights = ChoiceWeights::uniform()}, small_experts<SwiGlu<float>>(),
                    Capacity::factor(1)};
  decltype(layer)::Tape tape;
  const Matrix<float> y_TD = layer.forward(x_TD, tape);
  EXPECT_EQ(load_of(tape.plan).dropped, 5);  // ceil(7 / 4) = 2 are kept
  EXPECT_TRUE((y_TD.topRows(2).array() != 0).all());
  EXPECT_EQ(y_TD.bottomRows(5), Matrix<float>::Zero(5, width));
}

TEST(UnusedExperts, ACapacityOfZeroDropsEverything) {
  const Layer layer{small_router(), TopK{.k = 2}, small_experts<SwiGlu<float>>(), Capacity::exactly(0)};
  decltype(layer)::Tape tape;
  auto gradient = zeros_like(layer);
  EXPECT_EQ(layer.forward(x_TD, tape), Matrix<float>::Zero(7, width));
  EXPECT_EQ(load_of(tape.plan).dropped_share, 1);
  EXPECT_EQ(layer.backward(x_TD, dy_TD, tape, gradient), Matrix<float>::Zero(7, width));
  EXPECT_TRUE(is_zero(gradient));
}

TEST(UnusedExperts, TheLossesOfDroppedTokensStillTeachTheRouter) {
  const auto layer = small_layer(Capacity::exactly(0));
  SmallLayer::Tape tape;
  auto gradient = zeros_like(layer);
  layer.forward(x_TD, tape);
  layer.backward(x_TD, dy_TD, tape, gradient);
  for (const auto& expert : gradient.experts) EXPECT_TRUE(is_zero(expert));
  EXPECT_GT(gradient.router.weight_ED.norm(), 0);
}

}  // namespace unused_experts_test
}  // namespace moe
