#include "moe/layer/slot_means.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/matrices.hpp"

namespace moe {
namespace slot_means_test {

/// Two groups of two tokens, of which the last is padding; two experts of two slots each.
struct Example {
  Matrix<double> x_TD = support::random_matrix<double>(4, 3, 1), slots = support::random_matrix<double>(4, 3, 2);
  detail::SlotMeans<double> means;

  explicit Example(bool padding_gets_mean = false) {
    Batch<double> batch = x_TD;
    batch.group_size = 2;
    batch.valid = {1, 1, 1, 0};
    means.begin(batch, 4, 2);
    detail::normalize_rows<double>(x_TD, {}, means.u_TD);
    detail::normalize_rows<double>(slots, {}, means.w_PD);
    means.weigh(padding_gets_mean);
  }
};

TEST(SlotMeans, AnExpertsSlotsOfAllGroupsLieTogether) {
  const Example example;
  EXPECT_EQ(example.means.first_row, (std::vector<Index>{0, 4, 8}));
  const std::vector<Index> rows{0, 1, 4, 5, 2, 3, 6, 7};  // of group 0, of group 1
  for (Index g = 0; g < 2; ++g)
    for (Index p = 0; p < 4; ++p) {
      const Index row = rows[static_cast<std::size_t>(4 * g + p)];
      EXPECT_EQ(example.means.row_of_slot(g, p), row);
      EXPECT_EQ(example.means.group_of_row(row), g);
      EXPECT_EQ(example.means.slot_of_row(row), p);
    }
}

TEST(SlotMeans, WeightsAddUpToOneOverAGroupsTokensAndOverSlots) {
  const Example example;
  const auto& means = example.means;
  for (Index p = 0; p < 4; ++p) {
    EXPECT_NEAR(means.dispatch_TP(0, p) + means.dispatch_TP(1, p), 1, 1e-15);
    EXPECT_EQ(means.dispatch_TP(2, p), 1);  // alone in its group
    EXPECT_EQ(means.dispatch_TP(3, p), 0);
    EXPECT_EQ(means.combine_TP(3, p), 0);
    EXPECT_EQ(Example(true).means.combine_TP(3, p), 0.25);
  }
  for (Index t = 0; t < 3; ++t) EXPECT_NEAR(means.combine_TP.row(t).sum(), 1, 1e-15);
  const double odds = (example.x_TD.row(0) - example.x_TD.row(1)).dot(example.slots.row(2));
  EXPECT_NEAR(means.dispatch_TP(0, 2), 1 / (1 + std::exp(-odds)), 1e-15);
}

TEST(SlotMeans, GatherAndScatterAreTransposed) {
  const Example example;
  const auto& means = example.means;
  Matrix<double> rows(8, 3), back = Matrix<double>::Ones(4, 3);
  means.gather(means.dispatch_TP, example.x_TD, false, 0, rows);
  EXPECT_TRUE(rows.row(6).isApprox(example.x_TD.row(2), 1e-15));  // of group 1
  EXPECT_TRUE(rows.row(5).isApprox(
      means.dispatch_TP(0, 3) * example.x_TD.row(0) + means.dispatch_TP(1, 3) * example.x_TD.row(1), 1e-15));
  means.scatter(means.combine_TP, rows, false, back, Serial{});
  EXPECT_TRUE(back.row(2).isApprox(Matrix<double>::Ones(1, 3) + example.x_TD.row(2), 1e-14));
  EXPECT_EQ(back.row(3), (Matrix<double>::Ones(1, 3)));
  Buffer<Matrix<double>> dweights;
  means.weights_gradient(example.x_TD, rows, dweights, Serial{});
  EXPECT_NEAR(dweights(1, 3), example.x_TD.row(1).dot(rows.row(5)), 1e-15);
  EXPECT_EQ(dweights(3, 3), 0);
}

TEST(SlotMeans, ANormalisedRowHasTheLengthOfItsWidth) {
  const Matrix<double> v{{3, 4}, {0, 0}};
  Buffer<Matrix<double>> u;
  detail::normalize_rows<double>(v, Vector<double>{{1, 2}}, u);
  EXPECT_TRUE(u.row(0).isApprox(std::sqrt(2.0) * Matrix<double>{{0.6, 1.6}}, 1e-15));
  EXPECT_TRUE(u.row(1).isZero(0));
}

}  // namespace slot_means_test
}  // namespace moe
