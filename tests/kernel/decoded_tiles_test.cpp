#include "moe/kernel/decoded_tiles.hpp"

#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "kernel/panels_case.hpp"
#include "storage/plain_blocks.hpp"

namespace moe {
namespace decoded_tiles_test {

template <class S, class W>
void expect_all_tiles(Index rows, Index k, Index depth) {
  constexpr Index outputs = 70, inputs = 700;
  const auto a = support::random_matrix<S>(outputs, inputs, 1), b = support::random_matrix<S>(outputs, inputs, 2);
  const W first(a), second(b);
  const Matrix<S> plain[] = {first.matrix(), second.matrix()};
  const auto x = support::random_matrix<S>(rows, depth, 3);
  S* const packed = detail::Scratch<S>::mine().packed.data();
  const detail::PackedRows<S> left{packed, detail::EvenParts{rows, detail::TileShape<S>::rows}, detail::LeftOrder::rows,
                                   depth};
  detail::pack_rows<S>(x, left.tiles, packed);
  std::set<std::pair<Index, Index>> taken;
  detail::multiply_decoded<S, W>(left, {&first, &second}, 1, 5, k, [&](Index p, Index tile, const S* const* sums) {
    EXPECT_TRUE(taken.emplace(p, tile).second);
    const Index row = left.tiles.begin(tile), count = left.tiles.size(tile);
    const Index width = (std::min)(panel_width, outputs - p * panel_width);
    for (std::size_t w = 0; w < 2; ++w) {
      const Eigen::Map<const Matrix<S>> sum(sums[w], count, panel_width);
      const Matrix<S> expected =
          x.middleRows(row, count) * plain[w].block(p * panel_width, k, width, depth).transpose();
      ASSERT_LE((sum.leftCols(width) - expected).cwiseAbs().maxCoeff(), S(1e-3)) << rows << " rows, depth " << depth;
    }
  });
  EXPECT_EQ(taken.size(), static_cast<std::size_t>(4 * left.tiles.count()));
}

TEST(DecodedTiles, AreAllTakenOnce) {
  for (const Index rows : {1, 2, 3, 4, 6, 7, 13, 40})
    for (const Index depth : {1, 16, 17, 127, 128, 129, 600}) {
      expect_all_tiles<float, plain_blocks::PlainWeights>(rows, 0, depth);
      expect_all_tiles<float, plain_blocks::PlainWeights>(rows, 3, depth);
      expect_all_tiles<double, panels_case::Int8Rows<double>>(rows, 5, depth);
    }
}

}  // namespace decoded_tiles_test
}  // namespace moe
