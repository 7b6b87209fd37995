#include "moe/layer/always_on_expert.hpp"

#include <gtest/gtest.h>

#include <random>

#include "layer/some_experts.hpp"
#include "moe/core/parameters.hpp"
#include "moe/expert/glu.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace always_on_expert_test {

using layer_experts::ManyThreads, layer_experts::Whole;

/// By columns of stages, however many, or in one piece: the same bits.
TEST(AlwaysOnExpert, ColumnsChangeNoBit) {
  std::mt19937_64 rng(1);
  const auto expert = SwiGlu<float>::random(21, 700, rng, {.bias = true});
  const Whole<SwiGlu<float>> whole{expert};
  const auto x = support::random_matrix<float>(9, 21, 2), dy = support::random_matrix<float>(9, 21, 3);
  const auto expect_same = [&](const auto& executor) {
    SwiGlu<float>::Tape tape, other;
    Matrix<float> y(9, 21), dx(9, 21), wanted_y(9, 21), wanted_dx(9, 21);
    auto gradient = zeros_like(expert);
    auto wanted = zeros_like(whole);
    detail::always_on_forward<float>(expert, x, y, tape, executor);
    detail::always_on_forward<float>(whole, x, wanted_y, other, executor);
    expert.begin_backward(9, tape);
    detail::always_on_backward<float>(expert, x, dy, tape, dx, gradient, executor);
    detail::always_on_backward<float>(whole, x, dy, other, wanted_dx, wanted, executor);
    EXPECT_TRUE(support::same_bits(y, wanted_y) && support::same_bits(dx, wanted_dx));
    EXPECT_TRUE(support::same_parameters(gradient, wanted.inner));
  };
  expect_same(Serial{});
  expect_same(ManyThreads{});
}

}  // namespace always_on_expert_test
}  // namespace moe
