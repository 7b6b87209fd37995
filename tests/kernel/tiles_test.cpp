#include "moe/kernel/tiles.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/matrices.hpp"

namespace moe::detail {
namespace tiles_test {

TEST(Tiles, ATurnIsWholeChunksOfSteps) {
  for (const Index panels : {1, 2, 4, 8}) {
    EXPECT_EQ(steps_of_turn(panels) % panel_width, 0);
    EXPECT_GE(steps_of_turn(panels), 2 * panel_width);
  }
}

TEST(Tiles, MoreRowsArePackedAtOnceIfTheyAreShort) {
  EXPECT_GE(rows_at_once(longest_sum), 48);
  EXPECT_GT(rows_at_once(64), rows_at_once(512));
}

/// Every tile is visited once with every panel, of one weight or of two, and its sums are the product.
template <class S>
void expect_walk(Index rows, Index depth, Index panels, Index weights) {
  const Matrix<S> a = support::random_matrix<S>(rows, depth, 1);
  const Matrix<S> b = support::random_matrix<S>(weights * panels * depth, panel_width, 2);
  std::vector<S> packed(static_cast<std::size_t>(rows * whole_chunks(depth)));
  const PackedRows<S> left{packed.data(), EvenParts{rows, TileShape<S>::rows}, LeftOrder::rows, depth};
  pack_rows<S>(a, left.tiles, packed.data());
  RightPanels<S> right;
  right.weights = weights;
  const Index stride = depth * panel_width;
  for (Index w = 0; w < weights; ++w) {
    const S* const first = b.data() + w * panels * stride;
    right.runs[static_cast<std::size_t>(w)] = {first, stride, panels, first + (panels - 1) * stride};
  }
  std::vector<int> visits(static_cast<std::size_t>(left.tiles.count() * panels * weights));
  for (TileWalk<S> walk(left, right); walk.next();)
    for (Index i = 0; i < walk.panels(); ++i) {
      const Index p = walk.first_panel() + i;
      ++visits[static_cast<std::size_t>(walk.tile() * panels * weights + p)];
      EXPECT_FALSE(walk.in_memory(i));
      for (Index n = 0; n < left.tiles.size(walk.tile()); ++n)
        for (Index j = 0; j < panel_width; ++j) {
          S expected = 0;
          for (Index k = 0; k < depth; ++k)
            expected += a(left.tiles.begin(walk.tile()) + n, k) * right(p)[k * panel_width + j];
          EXPECT_NEAR(walk.sums(i)[n * panel_width + j], expected, 1e-4);
        }
    }
  for (const int count : visits) EXPECT_EQ(count, 1) << rows << ' ' << depth << ' ' << panels << ' ' << weights;
}

TEST(Tiles, AWalkVisitsEveryTileWithEveryPanelOnce) {
  for (const Index rows : {1, 3, 5, 13, 20, 24, 25, 50})
    for (const Index depth : {1, 40, 150})
      for (const Index panels : {1, 3, 9})
        for (const Index weights : {1, 2}) {
          expect_walk<float>(rows, depth, panels, weights);
          expect_walk<double>(rows, depth, panels, weights);
        }
}

}  // namespace tiles_test
}  // namespace moe::detail
