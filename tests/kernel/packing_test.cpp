#include "moe/kernel/packing.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/matrices.hpp"

namespace moe::detail {
namespace packing_test {

using support::random_matrix;

template <class S>
class Packing : public testing::Test {};
using Scalars = testing::Types<float, double, long double>;
TYPED_TEST_SUITE(Packing, Scalars);

TEST(EvenParts, CoverAllWithPartsThatDifferByOne) {
  for (const Index total : {0, 1, 11, 12, 13, 64, 1000}) {
    const EvenParts parts{total, 12};
    EXPECT_EQ(parts.begin(0), 0);
    EXPECT_EQ(parts.begin(parts.count()), total);
    for (Index part = 0; part < parts.count(); ++part) {
      EXPECT_LE(parts.size(part), 12);
      EXPECT_LE(std::abs(parts.size(part) - parts.size(0)), 1);
    }
  }
}

TYPED_TEST(Packing, RowsAreCopiedTileAfterTileInTheirOrder) {
  using S = TypeParam;
  for (const Index rows : {1, 2, 5, 12, 13, 40})
    for (const Index columns : {1, 7, 16, 17, 35}) {
      const Matrix<S> wide = random_matrix<S>(rows, columns + 3, 1);
      const auto x = wide.leftCols(columns);
      const EvenParts tiles{rows, TileShape<S>::rows};
      std::vector<S> packed(static_cast<std::size_t>(rows * whole_chunks(columns)));
      pack_rows<S>(x, tiles, packed.data());
      const S* tile = packed.data();
      for (Index t = 0; t < tiles.count(); tile += tiles.size(t++) * whole_chunks(columns))
        for (Index i = 0, size = tiles.size(t); i < size; ++i)
          for (Index k = 0; k < columns; ++k) {
            const bool by_columns = TileShape<S>::order_of_packed(size) == LeftOrder::columns;
            EXPECT_EQ(tile[by_columns ? k * size + i : k / 16 * 16 * size + i * 16 + k % 16], x(tiles.begin(t) + i, k));
          }
    }
}

TYPED_TEST(Packing, ColumnsAreCopiedTileAfterTile) {
  using S = TypeParam;
  for (const Index depth : {1, 9, 16, 35})
    for (const Index columns : {1, 12, 13, 30}) {
      const Matrix<S> x = random_matrix<S>(depth, columns, 2);
      const EvenParts tiles{columns, 12};
      const Index padded = whole_chunks(depth);
      std::vector<S> packed(static_cast<std::size_t>(padded * columns));
      pack_columns<S>(x, tiles, packed.data());
      const S* next = packed.data();
      for (Index t = 0; t < tiles.count(); next += (padded - depth) * tiles.size(t++))
        for (Index k = 0; k < depth; ++k)
          for (Index i = 0; i < tiles.size(t); ++i) EXPECT_EQ(*next++, x(k, tiles.begin(t) + i));
    }
}

TYPED_TEST(Packing, PanelsEndInZeros) {
  using S = TypeParam;
  const Matrix<S> x = random_matrix<S>(5, 19, 3);
  std::vector<S> panel(16 * 32, S(7)), turned(16 * 32, S(7));
  pack_panel<S>(x.leftCols(11), panel.data());
  pack_transposed<S>(x, turned.data());
  for (Index k = 0; k < 5; ++k)
    for (Index j = 0; j < 16; ++j) EXPECT_EQ(panel[static_cast<std::size_t>(k * 16 + j)], j < 11 ? x(k, j) : S(0));
  for (Index k = 0; k < 32; ++k)
    for (Index i = 0; i < 5; ++i)
      EXPECT_EQ(turned[static_cast<std::size_t>(k * 16 + i)], k < 19 ? x(i, k) : S(0)) << k << ' ' << i;
}

TYPED_TEST(Packing, ATileIsPutOrAddedAsFarAsItIsWide) {
  using S = TypeParam;
  const Matrix<S> tile = random_matrix<S>(3, 16, 4), before = random_matrix<S>(3, 20, 5);
  for (const bool accumulate : {false, true}) {
    Matrix<S> to = before;
    put_tile<S>(tile.data(), 3, 11, &to(0, 2), to.outerStride(), accumulate);
    Matrix<S> expected = tile.leftCols(11);
    if (accumulate) expected += before.middleCols(2, 11);
    EXPECT_EQ(to.middleCols(2, 11), expected);
    EXPECT_EQ(to.leftCols(2), before.leftCols(2));
    EXPECT_EQ(to.rightCols(7), before.rightCols(7));
  }
}

}  // namespace packing_test
}  // namespace moe::detail
