#include "moe/routing/batch.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <utility>
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

// What has no name is kept, wherever the batch goes.

/// Another value where the old ones lay, if they are gone.
void reuse_memory() {
  for (int i = 0; i < 8; ++i) {
    const std::vector<std::int64_t> ids(3, 77);
    const Matrix<float> rows = Matrix<float>::Constant(3, 2, 77);
    EXPECT_EQ(ids[0] + static_cast<std::int64_t>(rows(0, 0)), 154);
  }
}

Batch<float> batch_by_name(const Matrix<float>& x_TD) {
  Batch<float> batch = 2 * x_TD;
  batch.ids = std::vector<std::int64_t>{1, 2, 3};
  batch.valid = {1, 0, 1};
  if (x_TD.rows() > 3) return x_TD;
  return batch;
}

void expect_kept(const Batch<float>& batch, const Matrix<float>& x_TD) {
  reuse_memory();
  EXPECT_EQ(batch.x_TD, x_TD);
  EXPECT_EQ(std::vector<std::int64_t>(batch.ids.begin(), batch.ids.end()), (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(std::vector<std::uint8_t>(batch.valid.begin(), batch.valid.end()), (std::vector<std::uint8_t>{1, 0, 1}));
}

TEST(Batch, KeepsAnExpressionIdsAndAMaskWithoutAName) {
  const Matrix<float> x_TD = Matrix<float>::Random(3, 2);
  expect_kept(batch_by_name(x_TD), 2 * x_TD);
}

TEST(Batch, KeepsThemWhereItIsCopiedMovedAndAssigned) {
  const Matrix<float> x_TD = Matrix<float>::Random(3, 2), other_TD = Matrix<float>::Random(1, 5);
  std::vector<Batch<float>> batches;
  for (int i = 0; i < 3; ++i) batches.push_back(batch_by_name(x_TD));
  for (const Batch<float>& batch : batches) expect_kept(batch, 2 * x_TD);
  Batch<float> copy = batches[1];
  batches.clear();
  expect_kept(copy, 2 * x_TD);
  Batch<float> assigned = other_TD;
  assigned = std::move(copy);
  expect_kept(assigned, 2 * x_TD);
  copy = assigned;
  assigned = other_TD;
  expect_kept(copy, 2 * x_TD);
  EXPECT_EQ(assigned.x_TD.data(), other_TD.data());
}

TEST(Batch, ACopyKeepsOneNumberToo) {
  const Matrix<float> one{{3}};
  const Batch<float> batch = 2 * one, copy = batch;
  EXPECT_NE(copy.x_TD.data(), batch.x_TD.data());
  EXPECT_EQ(copy.x_TD(0, 0), 6);
}

TEST(Batch, KeepsAMatrixThatIsMovedInWithoutACopy) {
  Matrix<float> x_TD = Matrix<float>::Random(3, 2);
  const float* data = x_TD.data();
  Batch<float> batch = std::move(x_TD);
  EXPECT_EQ(batch.x_TD.data(), data);
  const Batch<float> moved = std::move(batch);
  EXPECT_EQ(moved.x_TD.data(), data);
  EXPECT_EQ(moved.x_TD.rows(), 3);
  const Batch<float> row = Eigen::RowVectorXf(Eigen::RowVectorXf::Ones(4)), column = Eigen::VectorXf(3);
  EXPECT_EQ(row.x_TD, Matrix<float>::Ones(1, 4));
  EXPECT_EQ(column.x_TD.cols(), 1);
}

TEST(Batch, KeepsTheNumberOfColumnsOfNothing) {
  Batch<float> batch = Matrix<float>(0, 4);
  const Batch<float> moved = std::move(batch), copy = moved;
  EXPECT_EQ(moved.x_TD.cols(), 4);
  EXPECT_EQ(copy.x_TD.cols(), 4);
}

TEST(Batch, RefersToListsWithANameWithoutACopy) {
  const Matrix<float> x_TD(2, 1);
  const std::vector<std::uint8_t> valid{1, 0};
  std::vector<std::int64_t> ids{4, 5};
  Batch<float> batch = x_TD;
  batch.valid = valid;
  batch.ids = std::span(ids);  // a view of what has a name
  EXPECT_EQ(batch.valid.data(), valid.data());
  EXPECT_EQ(batch.ids.data(), ids.data());
  const Batch<float> copy = batch;
  EXPECT_EQ(copy.valid.data(), valid.data());
  EXPECT_EQ(copy.x_TD.data(), x_TD.data());
  batch.ids = {};
  EXPECT_TRUE(batch.ids.empty());
}

TEST(Batch, StridedRowsAreEvaluated) {
  const Matrix<float> x_TD = Matrix<float>::Random(3, 4);
  const Eigen::Map<const Matrix<float>, 0, Eigen::Stride<Eigen::Dynamic, 2>> every_second(x_TD.data(), 3, 2, {4, 2});
  Batch<float> batch = every_second;
  const Batch<float> moved = std::move(batch);
  reuse_memory();
  EXPECT_EQ(moved.x_TD.col(1), x_TD.col(2));
}

}  // namespace batch_test
}  // namespace moe
