#include "moe/storage/int8_weights.hpp"

#include "storage/storage_case.hpp"

namespace moe {
namespace int8_weights_test {

using W = Int8Weights;

TEST(Int8Weights, HaveAScaleForEachOutputAndBlock) {
  Matrix<float> plain = Matrix<float>::Zero(2, 40);
  plain(0, 0) = 127, plain(0, 1) = -3.4f, plain(0, 31) = 2.5f, plain(0, 32) = 1.27f, plain(0, 33) = 0.02f;
  plain(1, 5) = -12.7f, plain(1, 6) = 0.34f;
  const Matrix<float> decoded = W(plain).matrix();
  EXPECT_EQ(decoded(0, 0), 127);
  EXPECT_EQ(decoded(0, 1), -3);
  EXPECT_EQ(decoded(0, 31), 2);  // a tie, to the even one
  EXPECT_FLOAT_EQ(decoded(0, 32), 1.27f);
  EXPECT_FLOAT_EQ(decoded(0, 33), 0.02f);
  EXPECT_FLOAT_EQ(decoded(1, 5), -12.7f);
  EXPECT_FLOAT_EQ(decoded(1, 6), 0.3f);
}

TEST(Int8Weights, AreOffByHalfAStep) {
  const Matrix<float> plain = storage_case::random_plain(17, 70, 1), decoded = W(plain).matrix();
  for (Index i = 0; i < 17; ++i)
    for (Index j = 0; j < 70; ++j) {
      const Index begin = j / 32 * 32, count = (std::min)(Index{32}, 70 - begin);
      const float largest = plain.row(i).segment(begin, count).cwiseAbs().maxCoeff();
      ASSERT_LE(std::abs(decoded(i, j) - plain(i, j)), largest / 253.9f);
    }
}

TEST(Int8Weights, HoldTheSmallestNumbers) {
  const float least = std::numeric_limits<float>::denorm_min();
  const Matrix<float> decoded = W(Matrix<float>::Constant(3, 3, least)).matrix();
  EXPECT_TRUE(decoded.isZero(0));  // less than a scale can be
  EXPECT_TRUE(W(Matrix<float>::Constant(1, 1, 3e38f)).matrix().isApproxToConstant(3e38f));
}

TEST(Int8Weights, TakeNineEighthsOfAByte) { EXPECT_EQ(W(Matrix<float>::Zero(32, 64)).bytes(), 32 * 64 * 9 / 8); }

TEST(Int8Weights, HoldFiniteNumbers) { storage_case::expect_only_finite<W>(); }
TEST(Int8Weights, AreAValue) { storage_case::expect_value<W>(); }
TEST(Int8Weights, MultiplyAsTheirNumbers) { storage_case::expect_products<W>(); }
TEST(Int8Weights, AreNear) { storage_case::expect_error_of_experts<W>(1e-2); }
TEST(Int8Weights, GiveOneResult) { storage_case::expect_one_result_of_experts<W>(); }

}  // namespace int8_weights_test
}  // namespace moe
