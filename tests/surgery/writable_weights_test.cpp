#include "moe/surgery/writable_weights.hpp"

#include <gtest/gtest.h>

#include <random>

#include "moe/moe.hpp"
#include "support/expect_invalid.hpp"

namespace moe {
namespace writable_weights_test {

auto some_layer() {
  std::mt19937_64 rng(1);
  return Layer{Router<float>::random(3, 6, rng), TopK{.k = 2}, make_experts<SwiGlu<float>>(3, 6, 7, rng)};
}

TEST(WritableWeights, ThoseOfFewerBitsAreNot) {
  EXPECT_NO_THROW(detail::require_writable_weights("here", some_layer()));
  const auto fast = quantized<Int8Weights>(some_layer());
  support::expect_invalid([&] { detail::require_writable_weights("here", fast); }, {"here: ", "w1", "dequantized"});
}

// Copies are fine, sums are refused, and the layer stays as it is.
TEST(WritableWeights, ExpertsOfFewerBitsMoveButDoNotMix) {
  auto fast = quantized<Int8Weights>(some_layer());
  const auto x = Matrix<float>(Matrix<float>::Identity(6, 6));
  const Matrix<float> y = fast.forward(x);
  support::expect_invalid([&] { merge_experts(fast, 0, 1, {}); }, {"can only be read", "moe::dequantized(layer)"});
  std::mt19937_64 rng(2);
  support::expect_invalid([&] { add_noise(fast, 0.1, rng); }, {"add_noise", "can only be read"});
  EXPECT_EQ(fast.forward(x), y);
  permute_experts(fast, {2, 0, 1});
  EXPECT_EQ(fast.forward(x), y);
  remove_expert(fast, 1);
  EXPECT_EQ(fast.experts.size(), 2u);
}

}  // namespace writable_weights_test
}  // namespace moe
