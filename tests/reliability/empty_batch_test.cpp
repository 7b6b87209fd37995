// A batch without tokens is a batch: at the first step, at the last, between others.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "moe/moe.hpp"
#include "reliability/small_layer.hpp"

namespace moe {
namespace empty_batch_test {

using namespace reliability;

const Losses all_losses{ImportanceLoss{},
                        ImportanceLoss{.source = ImportanceLoss::Source::clean_probabilities},
                        LoadBalanceLoss{},
                        LoadBalanceLoss{.count = LoadBalanceLoss::Count::all_choices},
                        LoadBalanceLoss{.count = LoadBalanceLoss::Count::all_choices_share},
                        RouterZLoss{}};

/// Both passes of a batch without a single token, padding or not, leave everything at exactly 0.
template <class SomeLayer>
void expect_zeros(const SomeLayer& layer, const Batch<float>& batch) {
  for (const bool training : {false, true}) {
    auto tape = training ? typename SomeLayer::Tape(1) : typename SomeLayer::Tape();
    auto gradient = zeros_like(layer);
    const Matrix<float> y_TD = layer.forward(batch, tape);
    EXPECT_EQ(y_TD, Matrix<float>::Zero(batch.tokens(), width));
    for (const LossValue& loss : layer.losses.report(tape.routing)) EXPECT_EQ(loss.value, 0) << loss.name;
    EXPECT_EQ(layer.auxiliary_loss(tape), 0);
    const Matrix<float> dy_TD = Matrix<float>::Ones(batch.tokens(), width);
    const Matrix<float> dx_TD = layer.backward(batch, dy_TD, tape, gradient);
    EXPECT_EQ(dx_TD, Matrix<float>::Zero(batch.tokens(), width));
    EXPECT_TRUE(support::same_parameters(gradient, zeros_like(layer)));
    EXPECT_EQ(load_of(tape.plan).dropped_share, 0);
    EXPECT_EQ(load_of(tape.plan).max_violation, 0);
  }
}

template <class G>
void expect_zeros_with(const G& gate) {
  const Layer layer{small_router(), gate, small_experts<SwiGlu<float>>(), all_losses, Capacity::factor(1.25)};
  expect_zeros(layer, Matrix<float>(0, width));
  expect_zeros(layer, Eigen::Map<const Matrix<float>>(nullptr, 0, width));

  Matrix<float> padding(3, width);
  support::poison(padding);
  const std::vector<std::uint8_t> valid(3, 0);
  Batch<float> batch = padding;
  batch.valid = valid;
  expect_zeros(layer, batch);
}

TEST(EmptyBatch, OfTopK) { expect_zeros_with(TopK{.k = 2}); }
TEST(EmptyBatch, OfSwitch) { expect_zeros_with(switch_top1()); }
TEST(EmptyBatch, OfTheDenseMixture) { expect_zeros_with(Softmax{}); }
TEST(EmptyBatch, OfExpertChoice) { expect_zeros_with(ExpertChoice{}); }
TEST(EmptyBatch, OfFixedNoise) { expect_zeros_with(FixedNoise{TopK{.k = 2}, 1.0}); }
TEST(EmptyBatch, OfNoisyTopK) { expect_zeros_with(NoisyTopK<float>::zeros(experts, width, {.k = 2})); }

TEST(EmptyBatch, OfHash) {
  const Layer layer{NoRouter<float>{experts}, Hash{{{0, 1, 2, 3}}}, small_experts<SwiGlu<float>>(), all_losses};
  expect_zeros(layer, Matrix<float>(0, width));
}

TEST(EmptyBatch, OfTheLoadLoss) {
  const Layer layer{small_router(), FixedNoise{TopK{.k = 2}, 1.0}, small_experts<SwiGlu<float>>(), Losses{LoadLoss{}}};
  expect_zeros(layer, Matrix<float>(0, width));
}

TEST(EmptyBatch, OfALayerOfLayersWithJitter) {
  auto router = small_router();
  router.jitter = 0.1;
  const Layer inner{router, switch_top1(), small_experts<SwiGlu<float>>(), all_losses};
  const Layer outer{router, TopK{.k = 2}, std::vector(4, inner), all_losses};
  expect_zeros(outer, Matrix<float>(0, width));
}

TEST(EmptyBatch, InGroupsHasNoGroup) {
  const Matrix<float> x_TD(0, width);
  Batch<float> batch = x_TD;
  batch.group_size = 8;
  expect_zeros(small_layer(Capacity::factor(1)), batch);
}

TEST(EmptyBatch, BetweenOthersLeavesTheTapeUsable) {
  const auto layer = small_layer();
  const Matrix<float> x_TD = support::random_matrix<float>(5, width, 3);
  SmallLayer::Tape tape;
  const Matrix<float> before = layer.forward(x_TD, tape);
  layer.forward(Matrix<float>(0, width), tape);
  EXPECT_TRUE(support::same_bits(layer.forward(x_TD, tape), before));
}

}  // namespace empty_batch_test
}  // namespace moe
