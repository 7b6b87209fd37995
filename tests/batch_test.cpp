#include "moe/batch.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "support/expect_invalid.hpp"

namespace moe {
namespace batch_test {

using support::expect_invalid;

const float* data_of(const Batch<float>& batch) { return batch.x_TD.data(); }

TEST(Batch, RefersToAMatrixWithoutACopy) {
  const Matrix<float> x_TD = Matrix<float>::Ones(3, 2);
  EXPECT_EQ(data_of(x_TD), x_TD.data());
}

TEST(Batch, RefersToABlockOfColumnsWithoutACopy) {
  const Matrix<float> wide = Matrix<float>::Random(3, 5);
  const Batch<float> batch = wide.middleCols(1, 2);
  EXPECT_EQ(batch.x_TD.data(), wide.data() + 1);
  EXPECT_EQ(batch.x_TD.outerStride(), 5);
  EXPECT_EQ(batch.x_TD, wide.middleCols(1, 2));
}

TEST(Batch, RefersToAnUnalignedMapWithOuterStrideWithoutACopy) {
  std::vector<float> memory(20, 1.0f);
  const Eigen::Map<const Matrix<float>, Eigen::Unaligned, Eigen::OuterStride<>> map(memory.data() + 1, 3, 2,
                                                                                    Eigen::OuterStride<>(6));
  EXPECT_EQ(data_of(map), memory.data() + 1);
}

TEST(Batch, OneTokenMayBeARowVector) {
  const Eigen::RowVectorXf token = Eigen::RowVectorXf::Ones(4);
  const Batch<float> batch = token;
  EXPECT_EQ(batch.tokens(), 1);
  EXPECT_EQ(batch.x_TD.cols(), 4);
  EXPECT_EQ(batch.x_TD.data(), token.data());
}

TEST(Batch, TokensOfWidthOneMayBeAColumnVector) {
  const Eigen::VectorXf column = Eigen::VectorXf::LinSpaced(3, 0, 2);
  const Batch<float> batch = column;
  EXPECT_EQ(batch.tokens(), 3);
  EXPECT_EQ(batch.x_TD, column);
}

TEST(Batch, AMapOfNothingIsAnEmptyBatch) {
  const Batch<float> batch = Eigen::Map<const Matrix<float>>(nullptr, 0, 4);
  EXPECT_EQ(batch.tokens(), 0);
  EXPECT_EQ(batch.x_TD.cols(), 4);
  EXPECT_NO_THROW(batch.check());
}

TEST(Batch, WithoutAMaskAllRowsAreTokens) {
  const Matrix<float> x_TD(2, 1);
  EXPECT_TRUE(Batch<float>(x_TD).is_valid(1));
}

TEST(Batch, TheMaskMarksPadding) {
  const Matrix<float> x_TD = Matrix<float>::Ones(2, 1);
  const std::vector<std::uint8_t> valid{1, 0};
  Batch<float> batch = x_TD;
  batch.valid = valid;
  EXPECT_TRUE(batch.is_valid(0));
  EXPECT_FALSE(batch.is_valid(1));
}

TEST(Batch, WithoutAGroupSizeAllRowsAreOneGroup) {
  const Matrix<float> x_TD(6, 1);
  const Batch<float> batch = x_TD;
  EXPECT_EQ(batch.groups(), 1);
  EXPECT_EQ(batch.group_of(5), 0);
}

TEST(Batch, GroupsAreNeighbouringRows) {
  const Matrix<float> x_TD(6, 1);
  Batch<float> batch = x_TD;
  batch.group_size = 2;
  EXPECT_EQ(batch.groups(), 3);
  EXPECT_EQ(batch.group_of(1), 0);
  EXPECT_EQ(batch.group_of(2), 1);
  EXPECT_EQ(batch.group_of(5), 2);
}

TEST(Batch, LengthsThatDisagreeAreRefused) {
  const Matrix<float> x_TD(3, 1);
  const std::vector<std::int64_t> ids(2, 0);
  const std::vector<std::uint8_t> valid(4, 1);
  Batch<float> with_ids = x_TD, with_mask = x_TD;
  with_ids.ids = ids;
  with_mask.valid = valid;
  expect_invalid([&] { with_ids.check(); }, {"2 ids for 3 tokens"});
  expect_invalid([&] { with_mask.check(); }, {"4 entries for 3 tokens"});
}

TEST(Batch, AGroupSizeThatDoesNotDivideTheTokensIsRefused) {
  const Matrix<float> x_TD(3, 1);
  Batch<float> batch = x_TD;
  batch.group_size = 2;
  expect_invalid([&] { batch.check(); }, {"3 tokens", "groups of 2"});
  batch.group_size = -1;
  expect_invalid([&] { batch.check(); }, {"group_size is -1"});
}

}  // namespace batch_test
}  // namespace moe
