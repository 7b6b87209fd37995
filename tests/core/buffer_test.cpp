#include "moe/core/buffer.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "support/matrices.hpp"

namespace moe {
namespace buffer_test {

const Matrix<float> values{{1, 2}, {3, 4}, {5, 6}};

Buffer<Matrix<float>> filled() {
  Buffer<Matrix<float>> buffer;
  buffer = values;
  return buffer;
}

TEST(Buffer, StartsEmpty) {
  const Buffer<Matrix<float>> matrix;
  const Buffer<Vector<float>> vector;
  EXPECT_EQ(matrix.size(), 0);
  EXPECT_EQ(vector.size(), 0);
  EXPECT_EQ(vector.cols(), 1);
}

TEST(Buffer, TakesTheSizeOfWhatIsAssigned) { EXPECT_EQ(filled(), values); }

TEST(Buffer, TakesAnyExpression) {
  Buffer<Vector<float>> vector;
  vector = 2 * values.col(1);
  EXPECT_EQ(vector, (Vector<float>{{4, 8, 12}}));
}

TEST(Buffer, KeepsItsMemoryWhenItBecomesSmallerAndLargerAgain) {
  auto buffer = filled();
  const float* memory = buffer.data();
  for (const Index rows : {1, 0, 2, 3}) {
    buffer.resize(rows, 2);
    EXPECT_EQ(buffer.data(), memory);
    EXPECT_EQ(buffer.rows(), rows);
    EXPECT_EQ(buffer.cols(), 2);
  }
  buffer.resize(1, 6);
  EXPECT_EQ(buffer.data(), memory);
}

TEST(Buffer, GrowsWhenItMust) {
  auto buffer = filled();
  buffer.resize(100, 7);
  buffer.setOnes();
  EXPECT_EQ(buffer.sum(), 700);
}

TEST(Buffer, IsPassedAsAReference) {
  auto buffer = filled();
  const auto sum = [](ConstMatrixRef<float> m) { return m.sum(); };
  const auto clear = [](MatrixRef<float> m) { m.setZero(); };
  EXPECT_EQ(sum(buffer), 21);
  EXPECT_EQ(sum(buffer.middleRows(1, 1)), 7);
  clear(buffer.topRows(2));
  EXPECT_EQ(buffer, (Matrix<float>{{0, 0}, {0, 0}, {5, 6}}));
}

TEST(Buffer, ACopyHasMemoryOfItsOwn) {
  auto buffer = filled();
  Buffer<Matrix<float>> copy = buffer, assigned;
  assigned = buffer;
  buffer.setZero();
  EXPECT_EQ(copy, values);
  EXPECT_EQ(assigned, values);
}

TEST(Buffer, AMoveTakesTheMemory) {
  auto buffer = filled();
  const float* memory = buffer.data();
  Buffer<Matrix<float>> taken = std::move(buffer);
  EXPECT_EQ(taken.data(), memory);
  EXPECT_EQ(taken, values);
  EXPECT_EQ(buffer.size(), 0);  // NOLINT(bugprone-use-after-move)
  buffer = values;
  EXPECT_EQ(buffer, values);
}

TEST(Buffer, AssignedToItselfStaysAsItIs) {
  auto buffer = filled();
  auto& same = buffer;
  buffer = same;
  EXPECT_EQ(buffer, values);
  buffer = std::move(same);
  EXPECT_EQ(buffer, values);
}

}  // namespace buffer_test
}  // namespace moe
