#include "moe/storage/mxfp4_weights.hpp"

#include "storage/storage_case.hpp"

namespace moe {
namespace mxfp4_weights_test {

using W = Mxfp4Weights;

TEST(Mxfp4Weights, AreTheNearestOfSixteen) {
  Matrix<float> plain(1, 20), expected(1, 20);
  plain << 6, -6, 5, 5.1f, -4.9f, 3.5f, 2.5f, 1.75f, 1.25f, 0.75f, 0.25f, 0.3f, -0.2f, 7.9f, 3, -1.5f, 0.5f, 0, 1, 2;
  expected << 6, -6, 4, 6, -4, 4, 2, 2, 1, 1, 0, 0.5f, 0, 6, 3, -1.5f, 0.5f, 0, 1, 2;
  EXPECT_TRUE(support::same_bits(W(plain).matrix(), expected));
}

/// Whatever the scale of a file's block, also one larger than its numbers need.
TEST(Mxfp4Weights, KeepWhatAFileHolds) {
  constexpr float magnitudes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  std::mt19937_64 rng{1};
  for (const std::size_t largest : {1u, 2u, 3u, 4u, 5u, 6u, 7u})
    for (const int exponent : {-100, -7, 0, 3, 100}) {
      Matrix<float> plain(19, 75);
      for (Index i = 0; i < plain.size(); ++i)
        plain.data()[i] = std::ldexp(magnitudes[rng() % (largest + 1)], exponent) * (rng() % 2 == 0 ? 1.0f : -1.0f);
      EXPECT_EQ(W(plain).matrix(), plain) << largest << " " << exponent;
    }
}

TEST(Mxfp4Weights, HoldTheSmallestAndTheLargest) {
  EXPECT_TRUE(W(Matrix<float>::Constant(3, 3, std::numeric_limits<float>::denorm_min())).matrix().isZero(0));
  EXPECT_EQ(W(Matrix<float>::Constant(1, 1, std::ldexp(1.5f, 127))).matrix()(0), std::ldexp(1.5f, 127));
}

TEST(Mxfp4Weights, TakeFiveEighthsOfAByte) { EXPECT_EQ(W(Matrix<float>::Zero(32, 64)).bytes(), 32 * 64 * 5 / 8); }

TEST(Mxfp4Weights, HoldFiniteNumbers) { storage_case::expect_only_finite<W>(); }
TEST(Mxfp4Weights, AreAValue) { storage_case::expect_value<W>(); }
TEST(Mxfp4Weights, MultiplyAsTheirNumbers) { storage_case::expect_products<W>(); }
TEST(Mxfp4Weights, AreNear) { storage_case::expect_error_of_experts<W>(0.25); }
TEST(Mxfp4Weights, GiveOneResult) { storage_case::expect_one_result_of_experts<W>(); }

}  // namespace mxfp4_weights_test
}  // namespace moe
