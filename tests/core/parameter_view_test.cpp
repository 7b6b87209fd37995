#include "moe/core/parameter_view.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "moe/core/weights.hpp"

namespace moe {
namespace parameter_view_test {

TEST(ParameterView, ReadsAndWritesEntriesInMemoryOrder) {
  Matrix<float> matrix{{1, 2}, {3, 4}, {5, 6}};
  const detail::ParameterView view = detail::view_of(matrix);
  EXPECT_EQ(view.rows, 3);
  EXPECT_EQ(view.cols, 2);
  double values[3];
  view.read(2, 3, values);
  EXPECT_EQ(std::vector<double>(values, values + 3), (std::vector<double>{3, 4, 5}));
  view.write(3, 2, values + 1);
  EXPECT_EQ(matrix, (Matrix<float>{{1, 2}, {3, 4}, {5, 6}}));
  view.set_zero();
  EXPECT_EQ(matrix, (Matrix<float>::Zero(3, 2)));
}

TEST(ParameterView, BlocksCoverAllEntries) {
  const Vector<double> vector = Vector<double>::LinSpaced(1000, 0, 999);
  double sum = 0;
  Index entries = 0;
  detail::view_of(vector).for_each_block([&](Index begin, const double* values, Index count) {
    EXPECT_EQ(begin, entries);
    entries += count;
    for (Index i = 0; i < count; ++i) sum += values[i];
  });
  EXPECT_EQ(entries, 1000);
  EXPECT_EQ(sum, 999 * 500);
}

TEST(ParameterView, KnowsWhetherRowsAreRunsOfEntries) {
  EXPECT_TRUE(detail::has_rows_as_runs<Matrix<float>>());
  EXPECT_TRUE(detail::has_rows_as_runs<Vector<float>>());
  EXPECT_FALSE(detail::has_rows_as_runs<Weights<float>>());
  EXPECT_FALSE(detail::has_rows_as_runs<Eigen::MatrixXf>());
}

TEST(ParameterView, KnowsVectors) {
  const Vector<float> vector(3);
  const Matrix<float> column(3, 1);
  const Weights<float> weights(3, 1);
  EXPECT_TRUE(detail::view_of(vector).is_vector);
  EXPECT_FALSE(detail::view_of(column).is_vector);
  EXPECT_FALSE(detail::view_of(weights).is_vector);
}

TEST(ParameterView, ARunIsAPartOfTheEntries) {
  Matrix<float> matrix{{1, 2}, {3, 4}, {5, 6}};
  detail::view_of(matrix).run(1, 3).set_zero();
  EXPECT_EQ(matrix, (Matrix<float>{{1, 0}, {0, 0}, {5, 6}}));
}

TEST(ParameterView, SquaresAreSummedInDouble) {
  for (const Index count : {0, 1, 31, 32, 33, 1000}) {
    const Vector<float> vector = Vector<float>::LinSpaced(count, 1e10f, 3e20f);
    EXPECT_NEAR(detail::view_of(vector).squares(), vector.cast<double>().squaredNorm(),
                1e-14 * vector.cast<double>().squaredNorm());
  }
}

TEST(ParameterView, ScalesInTheEntriesTypeOrWhereThatLosesDigitsInDouble) {
  Vector<float> vector{{3, 6}};
  detail::view_of(vector).scale(1, 3);
  EXPECT_EQ(vector, (Vector<float>{{3 * (1 / 3.0f), 6 * (1 / 3.0f)}}));
  vector = Vector<float>{{1e38f, 2e38f}};
  detail::view_of(vector).scale(1, 1e42);
  EXPECT_EQ(vector, (Vector<float>{{static_cast<float>(1e38f / 1e42), static_cast<float>(2e38f / 1e42)}}));
}

TEST(ParameterView, TheVisitorHandsOverAViewOfEachModel) {
  Matrix<double> a(1, 2);
  const Matrix<double> b(1, 2);
  std::string seen;
  const auto see = [&](std::string_view name, const detail::ParameterView* views) {
    seen = name;
    EXPECT_EQ(views[0].data, a.data());
    EXPECT_EQ(views[1].data, b.data());
  };
  detail::ViewVisitor{see}("w", a, b);
  EXPECT_EQ(seen, "w");
}

}  // namespace parameter_view_test
}  // namespace moe
