#include "moe/kernel/tile.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/matrices.hpp"

namespace moe::detail {
namespace tile_test {

template <class S>
class Tile : public testing::Test {};
using Scalars = testing::Types<float, double, long double>;
TYPED_TEST_SUITE(Tile, Scalars);

TYPED_TEST(Tile, FitsTheRegisters) {
  using Shape = TileShape<TypeParam>;
  for (Index rows = 1; rows <= Shape::rows; ++rows) {
    EXPECT_GE(Shape::panels(rows), 1);
    EXPECT_LE(Shape::panels(rows), Shape::most_panels);
    if (Shape::panels(rows) > 1) {
      EXPECT_LE(rows * Shape::panels(rows) * Shape::packets, Shape::registers);
    }
  }
}

/// A tile of each number of rows, in each order, with each kind of prefetch, is the product; in the order of rows
/// depths need not be whole chunks.
TYPED_TEST(Tile, OfAnyRowsIsTheProduct) {
  using S = TypeParam;
  using Shape = TileShape<S>;
  constexpr Index depth = 21, padded = 32;
  const Matrix<S> b = support::random_matrix<S>(Shape::most_panels * padded, panel_width, 2);
  std::vector<const S*> panels, ahead;
  for (Index p = 0; p < Shape::most_panels; ++p) panels.push_back(b.data() + p * padded * panel_width);
  for (Index rows = 1; rows <= Shape::rows; ++rows)
    for (const LeftOrder order : {LeftOrder::rows, LeftOrder::columns})
      for (const Ahead prefetch : {Ahead::one_far, Ahead::each_near})
        for (const Sums mode : {Sums::set, Sums::go_on, Sums::add}) {
          const Matrix<S> a = support::random_matrix<S>(rows, depth, 1);
          const LeftOrder own = order == LeftOrder::rows ? Shape::order_of_packed(rows) : order;
          std::vector<S> packed(static_cast<std::size_t>(rows * padded));
          for (Index i = 0; i < rows; ++i)
            for (Index k = 0; k < depth; ++k) {
              const Index place = own == LeftOrder::columns
                                      ? k * rows + i
                                      : k / panel_width * panel_width * rows + i * panel_width + k % panel_width;
              packed[static_cast<std::size_t>(place)] = a(i, k);
            }
          Matrix<S> sums = Matrix<S>::Constant(Shape::most_panels * rows, panel_width, 1);
          std::vector<S*> to;
          for (Index p = 0; p < Shape::most_panels; ++p) to.push_back(sums.data() + p * rows * panel_width);
          packed_tile<S>(order, rows)(packed.data(), depth, rows * panel_width, panels.data(), to.data(), mode,
                                      prefetch, panels.data(), 2);
          for (Index p = 0; p < Shape::panels(rows); ++p)
            for (Index i = 0; i < rows; ++i)
              for (Index j = 0; j < panel_width; ++j) {
                S expected = mode == Sums::set ? S(0) : S(1);
                for (Index k = 0; k < depth; ++k) expected += a(i, k) * b(p * padded + k, j);
                EXPECT_LE(std::abs(sums(p * rows + i, j) - expected), S(1e-5)) << rows;
              }
        }
}

}  // namespace tile_test
}  // namespace moe::detail
