#include "moe/kernel/lanes.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/matrices.hpp"

namespace moe::detail {
namespace lanes_test {

TEST(Lanes, OuterProductsOfEachNumberOfRowsAreAdded) {
  for (Index rows = 1; rows <= rows_of_weight_by_lane; ++rows)
    for (const Index width : {3, 16}) {
      const Matrix<double> dy = support::random_matrix<double>(rows, width + 2, 1),
                           x = support::random_matrix<double>(rows, 5, 2);
      Matrix<double> sums = support::random_matrix<double>(5, width, 3);
      const Matrix<double> expected = sums + support::product<double>(x.transpose(), dy.leftCols(width));
      LanesOfRows<double>::add_outer(rows)(dy.data(), dy.outerStride(), x.data(), x.outerStride(), 5, width,
                                           sums.data());
      EXPECT_LT((sums - expected).cwiseAbs().maxCoeff(), 1e-14);
    }
}

TEST(Lanes, EachLaneOfAPanelIsMultipliedByItsOwnEntry) {
  constexpr Index depth = 5;
  for (Index rows = 1; rows <= rows_of_input_by_lane; ++rows)
    for (const bool one_panel : {true, false}) {
      const Index panels = one_panel ? 1 : TileShape<float>::panels(rows);
      const Matrix<float> w = support::random_matrix<float>(panels * depth, panel_width, 1),
                          entries = support::random_matrix<float>(panels * rows, panel_width, 2);
      Matrix<float> sums = Matrix<float>::Ones(depth * rows, panel_width);
      std::vector<const float*> operand;
      for (Index p = 0; p < panels; ++p) operand.push_back(w.row(p * depth).data());
      LanesOfRows<float>::multiply(rows, one_panel)(operand.data(), depth, entries.data(), sums.data());
      for (Index k = 0; k < depth; ++k)
        for (Index n = 0; n < rows; ++n)
          for (Index j = 0; j < panel_width; ++j) {
            float expected = 1;
            for (Index p = 0; p < panels; ++p) expected += w(p * depth + k, j) * entries(p * rows + n, j);
            EXPECT_NEAR(sums(k * rows + n, j), expected, 1e-5f);
          }
    }
}

}  // namespace lanes_test
}  // namespace moe::detail
