// Whichever allocation fails, std::bad_alloc comes out, nothing leaks or breaks, and all can be used again.
#include "allocation/allocations.hpp"
// Eigen after that.
#include <gtest/gtest.h>

#include <new>
#include <random>
#include <thread>
#include <vector>

#include "moe/moe.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace out_of_memory_test {

constexpr Index experts = 3, width = 4, hidden = 5, tokens = 7;

auto noisy_layer() {
  std::mt19937_64 generator{1};
  auto router = Router<float>::random(experts, width, generator);
  router.jitter = 0.01;
  return Layer{router, NoisyTopK<float>::zeros(experts, width, {.k = 2}),
               make_experts<SwiGlu<float>>(experts, width, hidden, generator),
               Losses{ImportanceLoss{}, LoadLoss{}, RouterZLoss{}}, Capacity::factor(1)};
}

const Matrix<float> x_TD = support::random_matrix<float>(tokens, width, 2);
const Matrix<float> dy_TD = support::random_matrix<float>(tokens, width, 3);

template <class SomeLayer>
struct Step {
  const SomeLayer layer;
  SomeLayer gradient = zeros_like(layer);
  Matrix<float> y_TD = Matrix<float>::Zero(tokens, width), dx_TD = y_TD;

  template <class Exec>
  void run(typename SomeLayer::Tape& tape, const Exec& executor) {
    tape.random = Random(5);
    layer.forward_into(x_TD, y_TD, tape, executor);
    layer.backward_into(x_TD, dy_TD, tape, dx_TD, gradient, executor);
  }
  void expect_outcome_of(const Step& other) const {
    EXPECT_TRUE(support::same_parameters(layer, other.layer));
    EXPECT_TRUE(support::same_parameters(gradient, other.gradient));
    EXPECT_TRUE(support::same_bits(y_TD, other.y_TD));
    EXPECT_TRUE(support::same_bits(dx_TD, other.dx_TD));
  }
};

template <class SomeLayer, class Exec>
void expect_survival(const SomeLayer& layer, const Exec& executor) {
  static_cast<void>(detail::Scratch<float>::mine());  // this thread's, once for all
  Step<SomeLayer> expected{layer};
  long allocations = 0;
  {
    typename SomeLayer::Tape tape;
    allocation::reset();
    expected.run(tape, executor);
    allocations = allocation::counted();
  }
  ASSERT_GT(allocations, 20);
  for (long n = 0; n < allocations; ++n) {
    Step<SomeLayer> step{layer};
    typename SomeLayer::Tape tape;
    allocation::reset(n);
    EXPECT_THROW(step.run(tape, executor), std::bad_alloc) << "allocation " << n;
    allocation::reset();
    set_zero(step.gradient);  // the experts that were done have added to it
    step.run(tape, executor);
    step.expect_outcome_of(expected);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(OutOfMemory, InOneThread) { expect_survival(noisy_layer(), Serial{}); }

TEST(OutOfMemory, InALayerOfLayers) {
  std::mt19937_64 generator{9};
  const std::vector inner(2, noisy_layer());
  expect_survival(Layer{Router<float>::random(2, width, generator), switch_top1(), inner}, Serial{});
}

/// A tape that has seen the tokens `seen` by the layer `small`, at every allocation that a step of the layer `large`
/// and other tokens makes.
template <class SomeLayer>
void expect_tape_survives_growth(const SomeLayer& small, const Matrix<float>& seen, const SomeLayer& large,
                                 const Matrix<float>& next) {
  const auto step = [](const SomeLayer& layer, const Matrix<float>& x, typename SomeLayer::Tape& tape) {
    auto gradient = zeros_like(layer);
    if constexpr (requires { tape.random; }) tape.random = Random(5);
    const Matrix<float> y = layer.forward(x, tape, Serial{});
    return Matrix<float>(layer.backward(x, y, tape, gradient, Serial{}));
  };
  const auto seen_tape = [&] {
    typename SomeLayer::Tape tape;
    step(small, seen, tape);
    return tape;
  };
  auto tape = seen_tape();
  static_cast<void>(detail::Scratch<float>::mine());  // this thread's, once for all
  allocation::reset();
  const Matrix<float> expected = step(large, next, tape);
  const long allocations = allocation::counted();
  for (long n = 0; n < allocations; ++n) {
    auto failing = seen_tape(), abandoned = seen_tape();
    for (auto* each : {&failing, &abandoned}) {
      allocation::reset(n);
      EXPECT_THROW(step(large, next, *each), std::bad_alloc) << "allocation " << n;
      allocation::reset();
    }
    EXPECT_TRUE(support::same_bits(step(large, next, failing), expected)) << "allocation " << n;
  }
}

TEST(OutOfMemory, OfATapeThatGrowsForMoreTokens) {
  const auto layer = noisy_layer();
  expect_tape_survives_growth(layer, x_TD, layer, support::random_matrix<float>(3 * tokens, width, 4));
}

TEST(OutOfMemory, OfATapeThatGrowsForMoreTokensOfOneExpert) {
  auto small = noisy_layer();
  const auto large = small;
  small.dispatching.capacity = Capacity::exactly(1);
  expect_tape_survives_growth(small, x_TD, large, x_TD);
}

TEST(OutOfMemory, OfTapesOfOtherLayersThatGrow) {
  std::mt19937_64 generator{9};
  const Matrix<float> more_TD = support::random_matrix<float>(3 * tokens, width, 4);
  const Matrix<float> wide_TD = support::random_matrix<float>(tokens, width + 3, 4);
  const auto bag = make_experts<SwiGlu<float>>(experts, width, hidden, generator);
  const auto wide_bag = make_experts<SwiGlu<float>>(experts, width + 3, hidden, generator);

  const SoftLayer<float, SwiGlu<float>> soft{random_matrix<float>(experts, width, generator), bag, {.normalize = true}};
  const SoftLayer<float, SwiGlu<float>> more_slots{
      random_matrix<float>(2 * experts, width, generator), bag, {.normalize = true}};
  expect_tape_survives_growth(soft, x_TD, soft, more_TD);
  expect_tape_survives_growth(soft, x_TD, more_slots, x_TD);

  const Shared shared{noisy_layer(), SwiGlu<float>::random(width, hidden, generator),
                      SigmoidMix<float>::random(width, generator)};
  expect_tape_survives_growth(shared, x_TD, shared, more_TD);

  const auto jittering = [&](Index of_width, const auto& some) {
    auto router = Router<float>::random(experts, of_width, generator);
    router.jitter = 0.1;
    return Layer{router, TopK{.k = 2}, some};
  };
  expect_tape_survives_growth(jittering(width, bag), x_TD, jittering(width + 3, wide_bag), wide_TD);

  const auto cosine = [&](Index projected) {
    return Layer{CosineRouter<float>::random(experts, width, projected, generator), TopK{.k = 2}, bag};
  };
  expect_tape_survives_growth(cosine(2), x_TD, cosine(6), x_TD);
  expect_tape_survives_growth(cosine(2), x_TD, cosine(2), more_TD);

  const auto four = make_experts<SwiGlu<float>>(4, width, hidden, generator);
  const auto grouped = [&](Index groups) {
    return Layer{Router<float>::random(4, width, generator),
                 ScoredTopK{.k = 1,
                            .scores = Scores::sigmoid({.normalize = false}),
                            .groups = groups,
                            .group_score = ScoredTopK::GroupScore::best},
                 four};
  };
  expect_tape_survives_growth(grouped(2), x_TD, grouped(4), x_TD);
}

TEST(OutOfMemory, OfEveryGate) {
  std::mt19937_64 generator{9};
  const auto router = Router<float>::random(experts, width, generator);
  const auto bag = make_experts<SwiGlu<float>>(experts, width, hidden, generator);
  const Matrix<float> more_TD = support::random_matrix<float>(2 * tokens, width, 4);
  const auto expect = [&](const auto& gate) {
    const Layer layer{router, gate, bag, Losses{LoadBalanceLoss{}, RouterZLoss{}}, Capacity::factor(1)};
    expect_survival(layer, Serial{});
    expect_tape_survives_growth(layer, x_TD, layer, more_TD);
  };
  expect(Softmax{});
  expect(TopP{});
  expect(Threshold{});
  expect(ReluRouting{});
  expect(ExpertChoice{});
  expect(ExpertChoice{.softmax_axis = ExpertChoice::Axis::tokens, .average = true});
  expect(Sinkhorn{.k = 2});
  expect(BaseAssignment{});
  expect(SparseMixer{});
  expect(gshard_top2());
  expect(NoTokenLeftBehind{});
  expect(ScoredTopK{.k = 2});
  expect(FixedNoise{TopK{.k = 2}, 1.0});
  expect(GumbelNoise<TopK>{TopK{.k = 2}});
  expect(Prioritized{TopK{.k = 2}, Priority::random});
}

TEST(OutOfMemory, OfEveryExpert) {
  std::mt19937_64 generator{9};
  using Any = VariantExpert<float, SwiGlu<float>, Mlp<float, Gelu>, Linear<float>, ConstantExpert<float>,
                            IdentityExpert<float>, decltype(noisy_layer())>;
  const ExpertOptions options{.bias = true, .dropout = 0.2};
  const std::vector<Any> bag{SwiGlu<float>::random(width, hidden, generator, options),
                             Mlp<float, Gelu>::random(width, hidden, generator, options),
                             Linear<float>::random(width, width, generator),
                             ConstantExpert<float>::random(width, generator),
                             IdentityExpert<float>{},
                             noisy_layer()};
  const Layer layer{Router<float>::random(6, width, generator), TopK{.k = 3}, bag};
  expect_survival(layer, Serial{});
  expect_tape_survives_growth(layer, x_TD, layer, support::random_matrix<float>(2 * tokens, width, 4));
}

TEST(OutOfMemory, OfActivationsThatAreComputedAgain) {
  const auto layer = noisy_layer();
  using Tape = decltype(noisy_layer())::Tape;
  const auto step = [&](Tape& tape, decltype(Tape::experts)& room) {
    auto gradient = zeros_like(layer);
    tape.random = Random(5);
    tape.recompute_in = &room;
    const Matrix<float> y = layer.forward(x_TD, tape, Serial{});
    return Matrix<float>(layer.backward(x_TD, y, tape, gradient, Serial{}));
  };
  Tape first, tape;
  decltype(Tape::experts) first_room, room;
  step(first, first_room);  // what a thread allocates once in its life
  allocation::reset();
  const Matrix<float> expected = step(tape, room);
  const long allocations = allocation::counted();
  for (long n = 0; n < allocations; ++n) {
    Tape failing;
    decltype(Tape::experts) failing_room;
    allocation::reset(n);
    EXPECT_THROW(step(failing, failing_room), std::bad_alloc) << "allocation " << n;
    allocation::reset();
    EXPECT_TRUE(support::same_bits(step(failing, failing_room), expected)) << "allocation " << n;
  }
}

TEST(OutOfMemory, OfAGradientOnSlotsLeavesTheCallersVector) {
  const auto layer = noisy_layer();
  decltype(noisy_layer())::Tape tape;
  const Matrix<float> y_TD = layer.forward(x_TD, tape, Serial{});
  const auto expect = [&](const auto& loss) {
    const auto gradient = [&](Vector<float>& dweight_N) {
      Matrix<float> dy_NO = Matrix<float>::Zero(tape.y_NO.rows(), tape.y_NO.cols());
      loss.backward(tape.plan, tape.y_NO, y_TD, 1, dy_NO, dweight_N);
    };
    Vector<float> seen = Vector<float>::Ones(tape.plan.slots());
    allocation::reset();
    gradient(seen);
    const long allocations = allocation::counted();
    for (long n = 0; n < allocations; ++n) {
      Vector<float> dweight_N = Vector<float>::Ones(tape.plan.slots());
      allocation::reset(n);
      EXPECT_THROW(gradient(dweight_N), std::bad_alloc);
      allocation::reset();
      EXPECT_EQ(dweight_N, Vector<float>::Ones(tape.plan.slots()));
    }
  };
  expect(CooperativeLoss{});
  expect(CompetitiveLoss{});
  expect(MixtureNegativeLogLikelihood{});
}

TEST(OutOfMemory, OfALayersConstructionLosesNothing) {
  allocation::reset();
  noisy_layer();
  const long allocations = allocation::counted();
  for (long n = 0; n < allocations; ++n) {
    allocation::reset(n);
    EXPECT_THROW(noisy_layer(), std::bad_alloc);
  }
  allocation::reset();
}

TEST(OutOfMemory, OfAThreadsScratchIsTriedAgain) {
  std::thread([] {
    for (long n = 0; n < 2; ++n) {
      allocation::reset(n);
      EXPECT_THROW(detail::Scratch<float>::mine(), std::bad_alloc) << n;
    }
    allocation::reset();
    EXPECT_EQ(detail::Scratch<float>::mine().packed.size(), detail::scratch_size);
  }).join();
}

TEST(OutOfMemory, OfAnOptimiserLeavesTheModelAsItWas) {
  auto layer = noisy_layer();
  const auto before = layer;
  allocation::reset();
  { AdamW adam{layer}; }
  const long allocations = allocation::counted();
  for (long n = 0; n < allocations; ++n) {
    allocation::reset(n);
    EXPECT_THROW(AdamW{layer}, std::bad_alloc);
  }
  allocation::reset();
  EXPECT_TRUE(support::same_parameters(layer, before));
}

}  // namespace out_of_memory_test
}  // namespace moe
