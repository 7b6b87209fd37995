#include "moe/storage/bfloat16_weights.hpp"

#include "storage/storage_case.hpp"

namespace moe {
namespace bfloat16_weights_test {

using W = Bfloat16Weights;

TEST(Bfloat16Weights, AreTheNearest) {
  Matrix<float> plain(1, 6);
  plain << 1.0f, -1.00390625f, 1.01171875f, 1e-40f, 3.0e38f, -0.0f;  // two ties, to the even one
  const Matrix<float> decoded = W(plain).matrix();
  Matrix<float> expected(1, 6);
  for (Index i = 0; i < 6; ++i) expected(i) = static_cast<float>(Eigen::bfloat16(plain(i)));
  EXPECT_TRUE(support::same_bits(decoded, expected));
  EXPECT_EQ(decoded(1), -1.0f);
  EXPECT_EQ(decoded(2), 1.015625f);
}

TEST(Bfloat16Weights, TakeTwoBytes) { EXPECT_EQ(W(Matrix<float>::Zero(32, 48)).bytes(), 2 * 32 * 48); }

TEST(Bfloat16Weights, HoldWhatDoesNotBecomeInfinite) {
  storage_case::expect_only_finite<W>();
  support::expect_invalid([] { W{Matrix<float>::Constant(1, 1, std::numeric_limits<float>::max())}; },
                          {"Bfloat16Weights", "weight (0, 0)", "3.40282"});
}

TEST(Bfloat16Weights, AreAValue) { storage_case::expect_value<W>(); }
TEST(Bfloat16Weights, MultiplyAsTheirNumbers) { storage_case::expect_products<W>(); }
TEST(Bfloat16Weights, AreNear) { storage_case::expect_error_of_experts<W>(5e-3); }
TEST(Bfloat16Weights, GiveOneResult) { storage_case::expect_one_result_of_experts<W>(); }

}  // namespace bfloat16_weights_test
}  // namespace moe
