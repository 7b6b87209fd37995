#include "moe/kernel/linear_map.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "moe/core/executor.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace linear_test {

const Matrix<float> x{{1, 2, 3}, {4, 5, 6}};
const Matrix<float> w{{1, 0, -1}, {2, 1, 0}};
const Matrix<float> dy{{1, 2}, {3, -1}};

TEST(LinearKernel, ForwardIsTheProductPlusTheBias) {
  const Vector<float> b{{10, 20}};
  Matrix<float> y(2, 2);
  detail::linear_forward<float>(x, w, b, y, Serial{});
  // Row 0: 1 - 3 + 10, 2 + 2 + 20; row 1: 4 - 6 + 10, 8 + 5 + 20.
  EXPECT_EQ(y, (Matrix<float>{{8, 24}, {8, 33}}));
}

TEST(LinearKernel, AnEmptyBiasIsNone) {
  Matrix<float> y(2, 2);
  detail::linear_forward<float>(x, w, Vector<float>(), y, Serial{});
  EXPECT_EQ(y, (Matrix<float>{{-2, 4}, {-2, 13}}));
}

/// Seven threads, one after the other, the last task first.
struct SevenThreads {
  mutable Index tasks = 0;

  Index threads_at_work() const { return 7; }

  template <class F>
  void parallel_for(Index count, F&& f) const {
    tasks = count;
    for (Index i = count; i-- > 0;) f(i);
  }
};

TEST(LinearKernel, OutputsOfFewRowsAreDealtOutAndKeepTheirBits) {
  const Matrix<float> many = support::random_matrix<float>(300, 700, 1),
                      wide = support::random_matrix<float>(151, 700, 2);
  const Vector<float> b = support::random_matrix<float>(1, 151, 3).row(0);
  Matrix<float> expected(300, 151), y(300, 151), few(5, 151);
  detail::linear_forward<float>(many, wide, b, expected, Serial{});
  const SevenThreads executor;
  detail::linear_forward<float>(many, wide, b, y, executor);
  EXPECT_EQ(executor.tasks, 2);
  EXPECT_EQ(y, expected);
  detail::linear_forward<float>(many.topRows(5), wide, b, few, executor);
  EXPECT_EQ(executor.tasks, 5);  // of 32 outputs
  EXPECT_EQ(few, expected.topRows(5));
}

TEST(LinearKernel, NothingToDoIsDone) {
  Matrix<float> none(0, 2), narrow(2, 0);
  detail::linear_forward<float>(Matrix<float>(0, 3), w, Vector<float>(), none, SevenThreads{});
  detail::linear_forward<float>(x, Matrix<float>(0, 3), Vector<float>(), narrow, SevenThreads{});
  Matrix<float> tall(300, 0);
  detail::linear_forward<float>(Matrix<float>(300, 3), Matrix<float>(0, 3), Vector<float>(), tall, SevenThreads{});
  EXPECT_EQ(narrow.size() + tall.size(), 0);
}

TEST(LinearKernel, TheInputsGradientIsWrittenOrAdded) {
  Matrix<float> dx = Matrix<float>::Ones(2, 3);
  detail::linear_input_gradient<float>(dy, w, dx, false, Serial{});
  // Row 0: w0 + 2 w1; row 1: 3 w0 - w1.
  const Matrix<float> expected{{5, 2, -1}, {1, -1, -3}};
  EXPECT_EQ(dx, expected);
  detail::linear_input_gradient<float>(dy, w, dx, true, Serial{});
  EXPECT_EQ(dx, 2 * expected);
}

TEST(LinearKernel, TheWeightsGradientIsAdded) {
  Matrix<float> dw = Matrix<float>::Ones(2, 3);
  Vector<float> db = Vector<float>::Ones(2);
  detail::linear_weight_gradient<float>(dy, x, dw, db, Serial{});
  // dw row 0: x0 + 3 x1 = 13 17 21; row 1: 2 x0 - x1 = -2 -1 0. db: 4, 1.
  EXPECT_EQ(dw, (Matrix<float>{{14, 18, 22}, {-1, 0, 1}}));
  EXPECT_EQ(db, (Vector<float>{{5, 2}}));
}

TEST(LinearKernel, NoRowsAddNothingToTheWeightsGradient) {
  Matrix<float> dw = Matrix<float>::Ones(2, 3);
  Vector<float> db;
  detail::linear_weight_gradient<float>(Matrix<float>(0, 2), Matrix<float>(0, 3), dw, db, Serial{});
  EXPECT_EQ(dw, Matrix<float>::Ones(2, 3));
}

TEST(LinearKernel, RowsThatAreNotMarkedAreNotSeen) {
  Matrix<float> poisoned_x(3, 3), poisoned_dy(3, 2);
  Buffer<Matrix<float>> dy_rows, x_rows;
  support::poison(poisoned_x);
  support::poison(poisoned_dy);
  poisoned_x.row(0) = x.row(0), poisoned_x.row(2) = x.row(1);
  poisoned_dy.row(0) = dy.row(0), poisoned_dy.row(2) = dy.row(1);
  const std::vector<std::uint8_t> marks{1, 0, 1};
  Matrix<float> dw = Matrix<float>::Zero(2, 3);
  Vector<float> db = Vector<float>::Zero(2);
  detail::linear_weight_gradient_of_marked<float>(poisoned_dy, poisoned_x, marks, 2, dy_rows, x_rows, dw, db, Serial{});
  EXPECT_EQ(dw, (Matrix<float>{{13, 17, 21}, {-2, -1, 0}}));
  EXPECT_EQ(db, (Vector<float>{{4, 1}}));
}

TEST(LinearKernel, MoreRowsThanATaskTakesGiveTheSameBitsAsRowByRow) {
  const Matrix<float> many = support::random_matrix<float>(2 * detail::linear_task_rows + 3, 3, 1);
  Matrix<float> y(many.rows(), 2), row(1, 2);
  detail::linear_forward<float>(many, w, Vector<float>(), y, DefaultExecutor{});
  for (Index i = 0; i < many.rows(); ++i) {
    detail::linear_forward<float>(many.row(i), w, Vector<float>(), row, Serial{});
    ASSERT_TRUE(support::same_bits(row, y.row(i))) << "row " << i;
  }
}

TEST(LinearKernel, BlocksOfAWiderMatrixAreReadAndWrittenInPlace) {
  Matrix<float> wide_x = Matrix<float>::Zero(2, 8), wide_y = Matrix<float>::Constant(2, 6, 7);
  wide_x.middleCols(4, 3) = x;
  detail::linear_forward<float>(wide_x.middleCols(4, 3), w, Vector<float>(), wide_y.middleCols(1, 2), Serial{});
  EXPECT_EQ(wide_y.middleCols(1, 2), (Matrix<float>{{-2, 4}, {-2, 13}}));
  EXPECT_TRUE((wide_y.col(0).array() == 7).all());
  EXPECT_TRUE((wide_y.rightCols(3).array() == 7).all());
}

TEST(LinearKernel, ShapesThatDoNotFitTogetherAreRefused) {
  const Vector<float> none, long_bias(3);
  Matrix<float> y(2, 2), short_y(1, 2), narrow_dx(2, 2), dw(5, 3);
  Vector<float> db;
  support::expect_invalid([&] { detail::linear_forward<float>(y, w, none, y, Serial{}); }, {"2 x 2", "2 x 3"});
  support::expect_invalid([&] { detail::linear_forward<float>(x, w, none, short_y, Serial{}); }, {"outputs of 1 x 2"});
  support::expect_invalid([&] { detail::linear_forward<float>(x, w, long_bias, y, Serial{}); }, {"bias of 3"});
  support::expect_invalid([&] { detail::linear_input_gradient<float>(dy, w, narrow_dx, false, Serial{}); },
                          {"inputs of 2 x 2", "weight of 2 x 3"});
  support::expect_invalid([&] { detail::linear_weight_gradient<float>(dy, x, dw, db, Serial{}); }, {"weight of 5 x 3"});
}

}  // namespace linear_test
}  // namespace moe
