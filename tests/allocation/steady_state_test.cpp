// A tape that has seen a batch allocates nothing for another: forward_into and backward_into, whatever the layer is
// made of.
#include "allocation/allocations.hpp"
// Eigen after that.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <random>
#include <thread>
#include <type_traits>
#include <vector>

#include "moe/moe.hpp"

namespace moe {
namespace steady_state_test {

constexpr Index tokens = 40, experts = 4, width = 6, hidden = 9;

struct Inputs {
  Matrix<float> x_TD, dy_TD;
  std::vector<std::int64_t> ids;
  std::vector<std::uint8_t> valid;

  explicit Inputs(std::uint64_t seed) : ids(tokens), valid(tokens, 1) {
    std::mt19937_64 generator{seed};
    x_TD = random_matrix<float>(tokens, width, generator);
    dy_TD = random_matrix<float>(tokens, width, generator);
    for (auto& id : ids) id = detail::random_index(generator, experts);
    for (const std::size_t padding : {3u, 17u, 18u}) valid[padding] = 0;
  }
  Batch<float> batch(bool masked) const {
    Batch<float> all = x_TD;
    all.ids = ids;
    if (masked) all.valid = valid;
    return all;
  }
};

/// Every thread's scratch for the kernels, which it allocates once in its life.
void touch_scratch() {
#ifdef _OPENMP
#pragma omp parallel num_threads(2)
#endif
  static_cast<void>(detail::Scratch<float>::mine());
  std::atomic<int> here{0};
  Team{.threads = 2}.parallel_for(2, [&](Index) {
    static_cast<void>(detail::Scratch<float>::mine());
    ++here;
    while (here < 2) std::this_thread::yield();  // so that each thread has one of the tasks
  });
}

template <class SomeLayer, class Exec>
void expect_no_allocation(const SomeLayer& layer, const Exec& executor, bool masked) {
  const Inputs inputs(1);
  const Batch<float> batch = inputs.batch(masked);
  Matrix<float> y_TD(tokens, width), dx_TD(tokens, width);
  auto gradient = zeros_like(layer);
  typename SomeLayer::Tape tape;
  const auto pass = [&] {
    tape.random = Random(7);  // the same draws, thus the same sizes
    layer.forward_into(batch, y_TD, tape, executor);
    layer.backward_into(batch, inputs.dy_TD, tape, dx_TD, gradient, executor);
    layer.backward_into(batch, inputs.dy_TD, tape, dx_TD, gradient, executor);
  };
  pass();
  touch_scratch();
  allocation::reset();
  pass();
  EXPECT_EQ(allocation::counted(), 0) << (masked ? "with padding" : "without padding");
}

template <class SomeLayer>
void expect_steady_state(const SomeLayer& layer) {
  for (const bool masked : {false, true}) {
    expect_no_allocation(layer, Serial{}, masked);
    expect_no_allocation(layer, Team{.threads = 2}, masked);
#ifdef _OPENMP
    expect_no_allocation(layer, OpenMp{.threads = 2}, masked);
#endif
  }
}

Router<float> make_router(double jitter = 0) {
  std::mt19937_64 generator{1};
  auto router = Router<float>::random(experts, width, generator);
  router.bias_E.setZero(experts);
  router.jitter = jitter;
  return router;
}

template <class X = SwiGlu<float>>
std::vector<X> some_experts() {
  std::mt19937_64 generator{2};
  return make_experts<X>(experts, width, hidden, generator, ExpertOptions{.bias = true});
}

const Losses losses{ImportanceLoss{}, ImportanceLoss{.source = ImportanceLoss::Source::clean_probabilities},
                    LoadBalanceLoss{}, RouterZLoss{}};
const Losses losses_with_load{ImportanceLoss{}, LoadLoss{}, LoadLoss{.threshold = LoadLoss::Threshold::kth_largest}};

TEST(SteadyState, AllocationsAreSeen) {
  allocation::reset();
  std::vector<int> container(3);
  EXPECT_EQ(allocation::counted(), 1);
  Matrix<float> matrix(3, 3);
  EXPECT_EQ(allocation::counted(), 2);
  matrix.resize(1, 9);
  EXPECT_EQ(allocation::counted(), 2);
}

TEST(SteadyState, OfTopK) {
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, some_experts()});
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, some_experts(), losses, Capacity::factor(1)});
}

TEST(SteadyState, OfWeightsOfFewerBits) {
  const Layer layer{make_router(), TopK{.k = 2}, some_experts(), losses, Capacity::factor(1)};
  const auto expect_none = [](const auto& fast, const auto& executor) {
    for (const Index count : {tokens, Index{3}}) {
      const Matrix<float> x_TD = Inputs(1).x_TD.topRows(count);
      const Batch<float> batch = x_TD;
      Matrix<float> y_TD(count, width);
      typename std::remove_cvref_t<decltype(fast)>::Tape tape;
      tape.keep_activations = false;
      fast.forward_into(batch, y_TD, tape, executor);
      touch_scratch();
      allocation::reset();
      fast.forward_into(batch, y_TD, tape, executor);
      EXPECT_EQ(allocation::counted(), 0) << count << " tokens";
    }
  };
  expect_none(quantized<Bfloat16Weights>(layer), Serial{});
  expect_none(quantized<Bfloat16Weights>(layer), Team{.threads = 2});
  expect_none(quantized<Int8Weights>(layer), Team{.threads = 2});
}

TEST(SteadyState, OfEveryKindOfWeight) {
  for (const auto& weights : {ChoiceWeights::softmax_of_chosen(), ChoiceWeights::renormalized(),
                              ChoiceWeights::probabilities(), ChoiceWeights::uniform()})
    expect_steady_state(Layer{make_router(), TopK{.k = 3, .weights = weights}, some_experts(), losses});
}

TEST(SteadyState, OfSwitchWithJitter) {
  expect_steady_state(Layer{make_router(0.01), switch_top1(), some_experts<Mlp<float>>(), losses, Capacity::factor(1)});
}

TEST(SteadyState, OfTheDenseMixture) { expect_steady_state(Layer{make_router(), Softmax{}, some_experts(), losses}); }

TEST(SteadyState, OfNoisyTopK) {
  expect_steady_state(Layer{make_router(), NoisyTopK<float>::zeros(experts, width, {.k = 2}), some_experts(),
                            losses_with_load, Capacity::factor(1)});
}

TEST(SteadyState, OfFixedNoise) {
  expect_steady_state(
      Layer{make_router(), FixedNoise{TopK{.k = 2}, 1.0}, some_experts(), losses_with_load, Capacity::factor(1.25)});
}

TEST(SteadyState, OfExpertChoice) { expect_steady_state(Layer{make_router(), ExpertChoice{}, some_experts(), losses}); }

TEST(SteadyState, OfScoredTopK) {
  expect_steady_state(Layer{make_router(), ScoredTopK{.k = 2, .groups = 2, .groups_used = 1}, some_experts(), losses});
}

TEST(SteadyState, OfAssignments) {
  expect_steady_state(Layer{make_router(), Sinkhorn{.k = 1}, some_experts(), Capacity::factor(1)});
  expect_steady_state(Layer{make_router(), Sinkhorn{.k = 2}, some_experts(), Capacity::factor(1)});
  expect_steady_state(Layer{make_router(), Sinkhorn{.temperature = 0.1}, some_experts(), Capacity::factor(1)});
  expect_steady_state(Layer{make_router(), BaseAssignment{}, some_experts()});
}

TEST(SteadyState, OfChoicesThatDifferInNumber) {
  expect_steady_state(Layer{make_router(), TopP{}, some_experts(), losses});
  expect_steady_state(Layer{make_router(), Threshold{}, some_experts(), losses});
  expect_steady_state(Layer{make_router(), ReluRouting{}, some_experts(), losses});
  expect_steady_state(Layer{make_router(), gshard_top2(), some_experts(), losses});
}

TEST(SteadyState, OfSparseMixer) { expect_steady_state(Layer{make_router(), SparseMixer{}, some_experts(), losses}); }

TEST(SteadyState, OfReplay) {
  Replay<float> replay{Replay<float>::uniform(3, experts, 2).choices};  // of tokens that are never padding
  expect_steady_state(Layer{make_router(), replay, some_experts(), losses});
  replay.weights = ChoiceWeights::softmax_of_chosen();
  expect_steady_state(Layer{make_router(), replay, some_experts(), losses});
}

TEST(SteadyState, OfOrdersOfPriority) {
  const TopK gate{.k = 2, .weights = ChoiceWeights::probabilities()};
  const auto capacity = Capacity::factor(0.5);
  for (const auto priority : {Priority::token, Priority::best_probability, Priority::weight, Priority::logit,
                              Priority::logit_against_zero, Priority::random})
    expect_steady_state(Layer{make_router(), Prioritized<TopK>{gate, priority, capacity}, some_experts(), capacity});
  expect_steady_state(
      Layer{make_router(), NoTokenLeftBehind{.top_k = gate, .capacity = capacity}, some_experts(), capacity});
}

TEST(SteadyState, OfBalanceLosses) {
  using Count = LoadBalanceLoss::Count;
  const LoadBalanceLoss sequence{.scope = LoadBalanceLoss::Scope::sequence};
  const LoadBalanceLoss plain{.count = Count::plain_top_k_share};
  const DeviceBalanceLoss computation{.devices = 2},
      communication{.devices = 2, .kind = DeviceBalanceLoss::Kind::communication};
  expect_steady_state(
      Layer{make_router(), TopK{.k = 2}, some_experts(), Losses{sequence, plain, computation, communication}});
}

TEST(SteadyState, OfHash) {
  expect_steady_state(Layer{NoRouter<float>{experts}, Hash{{{3, 1, 2, 0}}}, some_experts(), Capacity::exactly(8)});
}

TEST(SteadyState, OfEveryKindOfExpert) {
  std::mt19937_64 generator{3};
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, some_experts<Mlp<float>>()});
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, some_experts<Mlp<float, Gelu>>()});
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, some_experts<Mlp<float, GeluTanh>>()});
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, some_experts<GeGlu<float>>()});
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, some_experts<ReGlu<float>>()});
  expect_steady_state(
      Layer{make_router(), TopK{.k = 2}, make_experts<Linear<float>>(experts, width, width, generator)});
}

TEST(SteadyState, OfSharedExperts) {
  std::mt19937_64 generator{3};
  const Layer layer{make_router(), TopK{.k = 2}, some_experts(), losses};
  const auto expert = some_experts().front();
  expect_steady_state(Shared{layer, expert});
  expect_steady_state(Shared{layer, expert, SigmoidMix<float>::random(width, generator)});
  expect_steady_state(Shared{layer, expert, SoftmaxMix<float>::random(width, generator)});
}

TEST(SteadyState, OfSoftLayers) {
  std::mt19937_64 generator{3};
  const auto dropping = make_experts<Mlp<float>>(experts, width, hidden, generator, ExpertOptions{.dropout = 0.5});
  for (const SoftOptions options : {SoftOptions{}, SoftOptions{.normalize = true, .padding_gets_mean = true}}) {
    const auto soft = SoftLayer<float, Mlp<float>>::random(2, width, dropping, generator, options);
    expect_steady_state(soft);
    expect_steady_state(Shared{soft, some_experts().front(), SigmoidMix<float>::random(width, generator)});
  }
  const Layer inner{make_router(0.01), TopK{.k = 2}, some_experts(), losses};
  expect_steady_state(
      SoftLayer<float, std::remove_const_t<decltype(inner)>>::random(3, width, {inner, inner}, generator));
}

TEST(SteadyState, OfAPassInStages) {
  const Layer layer{make_router(0.01), TopK{.k = 2}, some_experts(), losses, Capacity::factor(1)};
  const Inputs inputs(1);
  const Batch<float> batch = inputs.batch(true);
  Matrix<float> y_TD(tokens, width), dx_TD(tokens, width);
  auto gradient = zeros_like(layer);
  decltype(layer)::Tape tape;
  const auto pass = [&] {
    tape.random = Random(7);
    layer.route(batch, tape, Serial{});
    layer.run_experts(batch, tape, Serial{});
    layer.combine(batch, tape, y_TD, Serial{});
    layer.combine_backward(batch, inputs.dy_TD, tape, Serial{});
    layer.run_experts_backward(batch, tape, gradient, Serial{});
    layer.route_backward(batch, inputs.dy_TD, tape, dx_TD, gradient, Serial{});
  };
  pass();
  allocation::reset();
  pass();
  EXPECT_EQ(allocation::counted(), 0);
}

TEST(SteadyState, OfZeroComputationExperts) {
  std::mt19937_64 generator{3};
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, std::vector<ZeroExpert<float>>(experts)});
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, std::vector<IdentityExpert<float>>(experts)});
  expect_steady_state(
      Layer{make_router(), TopK{.k = 2}, make_experts<ConstantExpert<float>>(experts, width, generator)});
}

TEST(SteadyState, OfExpertsOfDifferentTypes) {
  std::mt19937_64 generator{3};
  using Any = VariantExpert<float, SwiGlu<float>, ZeroExpert<float>, ConstantExpert<float>>;
  const std::vector<Any> bag{SwiGlu<float>::random(width, hidden, generator), ZeroExpert<float>{},
                             SwiGlu<float>::random(width, 3, generator),
                             ConstantExpert<float>::random(width, generator)};
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, bag});
}

TEST(SteadyState, OfALayerOfLayers) {
  const Layer inner{make_router(0.01), FixedNoise{TopK{.k = 2}, 1.0}, some_experts(), losses, Capacity::factor(1)};
  expect_steady_state(Layer{make_router(), TopK{.k = 2}, std::vector(experts, inner), losses});
}

TEST(SteadyState, OfInference) {
  const Layer layer{make_router(0.01), TopK{.k = 2}, some_experts()};
  const Inputs inputs(1);
  Matrix<float> y_TD(tokens, width);
  decltype(layer)::Tape tape;
  layer.forward_into(inputs.batch(false), y_TD, tape, Serial{});
  allocation::reset();
  layer.forward_into(inputs.batch(false), y_TD, tape, Serial{});
  EXPECT_EQ(allocation::counted(), 0);
}

// Blocks of rows go through the calling thread's memory, whatever expert it was last used for.
TEST(SteadyState, OfInferenceThatKeepsNothing) {
  std::mt19937_64 generator{3};
  using Any = VariantExpert<float, SwiGlu<float>, Mlp<float>>;
  const std::vector<Any> bag{SwiGlu<float>::random(width, 1300, generator), Mlp<float>::random(width, 1300, generator),
                             SwiGlu<float>::random(width, 1300, generator)};
  const Layer layer{Router<float>::random(3, width, generator), TopK{.k = 2}, bag};
  const Matrix<float> one = random_matrix<float>(300, width, generator), other = -2 * one;
  Matrix<float> y_TD(300, width);
  decltype(layer)::Tape tape;
  tape.keep_activations = false;
  layer.forward_into(one, y_TD, tape, Serial{});
  ASSERT_EQ(tape.x_ND.rows(), 0);
  allocation::reset();
  layer.forward_into(one, y_TD, tape, Serial{});
  EXPECT_EQ(allocation::counted(), 0);
  layer.forward_into(other, y_TD, tape, Serial{});
  EXPECT_EQ(allocation::counted(), 0);
}

TEST(SteadyState, OfOtherTokensThatGoElsewhere) {
  const auto layer_of = [](Index k, const Capacity& capacity) {
    return Layer{make_router(0.01), TopK{.k = k}, some_experts(), losses, capacity};
  };
  const auto layer = layer_of(2, Capacity::factor(1));
  auto gradient = zeros_like(layer);
  Matrix<float> y_TD(tokens, width), dx_TD(tokens, width);
  decltype(layer)::Tape tape{1};
  const auto pass = [&](const auto& of, const Inputs& inputs, bool masked) {
    of.forward_into(inputs.batch(masked), y_TD, tape, Serial{});
    of.backward_into(inputs.batch(masked), inputs.dy_TD, tape, dx_TD, gradient, Serial{});
  };
  const std::vector<Inputs> batches{Inputs(1), Inputs(2), Inputs(3)};
  // No pass is larger than the one in which every expert gets every token, nor drops more than the one that drops all.
  pass(layer_of(experts, Capacity::unlimited()), batches[0], false);
  pass(layer_of(experts, Capacity::exactly(0)), batches[0], true);
  pass(layer, batches[0], false);
  allocation::reset();
  for (const bool masked : {false, true, false})
    for (const Inputs& inputs : batches) pass(layer, inputs, masked);
  EXPECT_EQ(allocation::counted(), 0);
}

}  // namespace steady_state_test
}  // namespace moe
