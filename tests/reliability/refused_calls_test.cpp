// What is wrong is refused in words and numbers, and everything is left as it was.
#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "moe/moe.hpp"
#include "reliability/small_layer.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace refused_calls_test {

using namespace reliability;
using support::expect_invalid;

const Matrix<float> x_TD = support::random_matrix<float>(6, width, 3);
const Matrix<float> dy_TD = support::random_matrix<float>(6, width, 4);

/// A layer after its forward pass, before its backward pass.
struct Step {
  SmallLayer layer = small_layer();
  SmallLayer::Tape tape;
  SmallLayer gradient = zeros_like(layer);
  Matrix<float> dx_TD = Matrix<float>::Constant(6, width, 7);

  Step() { layer.forward(x_TD, tape); }

  void backward(const Matrix<float>& x, const Matrix<float>& dy) { layer.backward_into(x, dy, tape, dx_TD, gradient); }

  /// Refused, and then done right, with the outcome of a step that never saw the mistake.
  template <class Call>
  void expect_refused(Call&& call, std::initializer_list<std::string_view> parts) {
    expect_invalid(call, parts);
    EXPECT_TRUE((dx_TD.array() == 7).all());
    EXPECT_TRUE(support::same_parameters(gradient, zeros_like(layer)));
    Step right;
    right.backward(x_TD, dy_TD);
    backward(x_TD, dy_TD);
    EXPECT_TRUE(support::same_bits(dx_TD, right.dx_TD));
    EXPECT_TRUE(support::same_parameters(gradient, right.gradient));
  }
};

TEST(RefusedCalls, NoExperts) {
  expect_invalid([] { Layer(Router<float>{}, TopK{.k = 2}, std::vector<Mlp<float>>{}); }, {"has no experts"});
  expect_invalid([] { Layer(NoRouter<float>{0}, Hash{{{0}}}, std::vector<Mlp<float>>{}); }, {"has no experts"});
  expect_invalid([] { Layer(small_router(), TopK{.k = 2}, std::vector<Mlp<float>>{}); },
                 {"0 experts", "the router scores 4"});
}

TEST(RefusedCalls, AGateThatDoesNotSuitTheNumberOfExperts) {
  for (const Index k : {-1, 0, 5})
    expect_invalid([&] { Layer(small_router(), TopK{.k = k}, small_experts<Mlp<float>>()); },
                   {"k is " + std::to_string(k), "4"});
  expect_invalid([] { Layer(small_router(), TopK{.k = 1}, small_experts<Mlp<float>>()); }, {"k = 1"});
  expect_invalid([] { Layer(small_router(), ExpertChoice{.factor = 5}, small_experts<Mlp<float>>()); },
                 {"factor is 5"});
  expect_invalid([] { Layer(NoRouter<float>{4}, Hash{{{0, 4}}}, small_experts<Mlp<float>>()); }, {"0 to 4"});
}

TEST(RefusedCalls, ExpertsOfAnotherWidth) {
  std::mt19937_64 generator{1};
  expect_invalid([&] { Layer(small_router(), TopK{.k = 2}, make_experts<Mlp<float>>(4, 9, 5, generator)); },
                 {"5 x 9", "width 3"});
}

TEST(RefusedCalls, ExpertsWithOutputsOfDifferentWidths) {
  std::mt19937_64 generator{1};
  auto linear = make_experts<Linear<float>>(4, width, 2, generator);
  linear[3] = Linear<float>::random(width, 7, generator);
  expect_invalid([&] { Layer(small_router(), TopK{.k = 2}, linear); }, {"2 and 7 columns"});
}

TEST(RefusedCalls, TokensOfAnotherWidth) {
  const auto layer = small_layer();
  expect_invalid([&] { layer.forward(Matrix<float>(2, 5)); }, {"width 5", "width 3"});
  expect_invalid([&] { layer.forward(Matrix<float>(0, 0)); }, {"width 0"});
}

TEST(RefusedCalls, TokensOfAnotherWidthWithoutARouter) {
  const Layer layer{NoRouter<float>{4}, Hash{{{0, 1, 2, 3}}}, small_experts<Mlp<float>>()};
  const std::vector<std::int64_t> ids(2, 0);
  const Matrix<float> wide_TD = Matrix<float>::Zero(2, 5);
  Batch<float> batch = wide_TD;
  batch.ids = ids;
  expect_invalid([&] { layer.forward(batch); }, {"w1 is 5 x 3", "width 5"});
}

TEST(RefusedCalls, AnOutputOfAnotherShape) {
  const auto layer = small_layer();
  SmallLayer::Tape tape;
  Matrix<float> y_TD = Matrix<float>::Constant(5, width, 7);
  expect_invalid([&] { layer.forward_into(x_TD, y_TD, tape); }, {"forward: y is 5 x 3", "6 x 3"});
  EXPECT_TRUE((y_TD.array() == 7).all());
}

TEST(RefusedCalls, AnOutputThatOverlapsTheTokens) {
  const auto layer = small_layer();
  SmallLayer::Tape tape;
  Matrix<float> memory = support::random_matrix<float>(8, width, 3);
  const Matrix<float> before = memory;
  expect_invalid([&] { layer.forward_into(memory, memory, tape); }, {"y overlaps the tokens"});
  expect_invalid([&] { layer.forward_into(memory.topRows(5), memory.bottomRows(5), tape); }, {"overlaps"});
  EXPECT_TRUE(support::same_bits(memory, before));
  EXPECT_NO_THROW(layer.forward_into(memory.topRows(4), memory.bottomRows(4), tape));
}

TEST(RefusedCalls, AnIdOutsideTheTableLeavesTheOutputAsItWas) {
  const Layer layer{NoRouter<float>{4}, Hash{{{0, 1, 2, 3}}}, small_experts<Mlp<float>>()};
  const std::vector<std::int64_t> ids{0, 1, 2, 3, 4, 0};
  Batch<float> batch = x_TD;
  batch.ids = ids;
  decltype(layer)::Tape tape;
  Matrix<float> y_TD = Matrix<float>::Constant(6, width, 7);
  expect_invalid([&] { layer.forward_into(batch, y_TD, tape); }, {"token 4 has id 4", "table has 4"});
  EXPECT_TRUE((y_TD.array() == 7).all());
  auto gradient = zeros_like(layer);
  expect_invalid([&] { layer.backward(batch, dy_TD, tape, gradient); }, {"no forward pass"});
}

TEST(RefusedCalls, AMaskOfAnotherLength) {
  const std::vector<std::uint8_t> valid(5, 1);
  Batch<float> batch = x_TD;
  batch.valid = valid;
  expect_invalid([&] { small_layer().forward(batch); }, {"5 entries for 6 tokens"});
}

TEST(RefusedCalls, BackwardBeforeForward) {
  const auto layer = small_layer();
  SmallLayer::Tape tape;
  auto gradient = zeros_like(layer);
  expect_invalid([&] { layer.backward(x_TD, dy_TD, tape, gradient); }, {"backward", "no forward pass"});
  expect_invalid([&] { (void)layer.auxiliary_loss(tape); }, {"auxiliary_loss", "no forward pass"});
}

TEST(RefusedCalls, BackwardOfAnotherBatchSize) {
  Step step;
  const Matrix<float> small_TD = x_TD.topRows(4);
  Matrix<float> dx_TD(4, width);
  step.expect_refused([&] { step.layer.backward_into(small_TD, small_TD, step.tape, dx_TD, step.gradient); },
                      {"tape is of 6 tokens", "batch has 4"});
}

TEST(RefusedCalls, AnUpstreamGradientOfAnotherShape) {
  Step step;
  step.expect_refused([&] { step.backward(x_TD, Matrix<float>::Zero(6, 2)); }, {"dy is 6 x 2", "6 x 3"});
}

TEST(RefusedCalls, AnInputGradientOfAnotherShape) {
  Step step;
  Matrix<float> narrow(6, 2);
  step.expect_refused([&] { step.layer.backward_into(x_TD, dy_TD, step.tape, narrow, step.gradient); },
                      {"dx is 6 x 2", "6 x 3"});
}

TEST(RefusedCalls, AnInputGradientThatOverlapsTheTokens) {
  Step step;
  Matrix<float> tokens = x_TD;
  step.expect_refused([&] { step.layer.backward_into(tokens, dy_TD, step.tape, tokens, step.gradient); },
                      {"dx overlaps the tokens"});
  EXPECT_TRUE(support::same_bits(tokens, x_TD));
}

TEST(RefusedCalls, TheLayerItselfAsItsGradient) {
  Step step;
  const SmallLayer before = step.layer;
  step.expect_refused([&] { step.layer.backward(x_TD, dy_TD, step.tape, step.layer); },
                      {"the gradient is the layer itself"});
  EXPECT_TRUE(support::same_parameters(step.layer, before));
}

TEST(RefusedCalls, AGradientOfAnotherShape) {
  Step step;
  SmallLayer fewer = step.gradient, narrower = step.gradient, biased = step.gradient;
  fewer.experts.pop_back();
  narrower.experts[2].w1_FD.resize(4, width);
  biased.router.bias_E.setZero(experts);
  step.expect_refused([&] { step.layer.backward(x_TD, dy_TD, step.tape, fewer); }, {"gradient's experts are 3", "4"});
  Step().expect_refused([&] { step.layer.backward(x_TD, dy_TD, step.tape, narrower); }, {"'w1'", "5 x 3", "4 x 3"});
  Step().expect_refused([&] { step.layer.backward(x_TD, dy_TD, step.tape, biased); }, {"'bias'", "0 x 1", "4 x 1"});
}

TEST(RefusedCalls, ExpertsThatHaveChangedTheirHiddenWidth) {
  std::mt19937_64 generator{5};
  SmallLayer layer = small_layer();
  SmallLayer::Tape tape;
  layer.forward(x_TD, tape);
  layer.experts[3] = SwiGlu<float>::random(width, 3 * hidden, generator);
  SmallLayer gradient = zeros_like(layer);
  Matrix<float> dx_TD = Matrix<float>::Constant(6, width, 7);
  expect_invalid([&] { layer.backward_into(x_TD, dy_TD, tape, dx_TD, gradient); }, {"15", "5"});
  EXPECT_TRUE((dx_TD.array() == 7).all());
  EXPECT_TRUE(support::same_parameters(gradient, zeros_like(layer)));
}

TEST(RefusedCalls, SlotGradientsOfAnotherShape) {
  Step step;
  const Matrix<float> dy_NO = Matrix<float>::Zero(3, width);
  step.expect_refused(
      [&] {
        step.layer.backward_from_slots(x_TD, dy_NO, Vector<float>::Zero(3), step.tape, step.dx_TD, step.gradient);
      },
      {"3 x 3 outputs", "12 slots"});
}

/// A gate that does not say that its number of choices differs.
struct SilentGate {
  ExpertChoice chooser = {};
  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random* random) const {
    chooser.route(batch, routing, random);
  }
  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    chooser.backward(routing, drouting);
  }
};

TEST(RefusedCalls, ALossThatTheGateDoesNotSuitLeavesTheGradientAsItWas) {
  const Layer layer{small_router(), FixedNoise{SilentGate{}, 1.0}, small_experts<Mlp<float>>(), Losses{LoadLoss{}}};
  decltype(layer)::Tape tape{1};
  auto gradient = zeros_like(layer);
  layer.forward(x_TD, tape);
  Matrix<float> dx_TD = Matrix<float>::Constant(6, width, 7);
  expect_invalid([&] { layer.backward_into(x_TD, dy_TD, tape, dx_TD, gradient); }, {"LoadLoss"});
  EXPECT_TRUE(support::same_parameters(gradient, zeros_like(layer)));
  EXPECT_TRUE((dx_TD.array() == 7).all());
}

TEST(RefusedCalls, AMovedFromLayerIsRefusedUntilItIsAssigned) {
  auto layer = small_layer();
  const auto taken = std::move(layer);
  expect_invalid([&] { layer.forward(x_TD); }, {"has no experts"});  // NOLINT(bugprone-use-after-move)
  layer = taken;
  EXPECT_TRUE(support::same_bits(layer.forward(x_TD), taken.forward(x_TD)));
}

}  // namespace refused_calls_test
}  // namespace moe
