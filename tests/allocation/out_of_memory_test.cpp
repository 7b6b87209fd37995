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
    tape.random = Random(5);
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
    for (long n = 0; n < 3; ++n) {
      allocation::reset(n);
      EXPECT_THROW(detail::Scratch<float>::mine(), std::bad_alloc) << n;
    }
    allocation::reset();
    EXPECT_EQ(detail::Scratch<float>::mine().packed.size(), detail::Scratch<float>::packed_size);
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
