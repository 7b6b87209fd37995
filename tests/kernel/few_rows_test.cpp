#include "moe/kernel/few_rows.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "kernel/panels_case.hpp"
#include "storage/plain_blocks.hpp"

namespace moe {
namespace few_rows_test {

using plain_blocks::PlainWeights;

static_assert(detail::LiesInBlocks<PlainWeights>);
static_assert(!detail::LiesInBlocks<Weights<float>> && !detail::LiesInBlocks<panels_case::Int8Rows<float>>);

/// Every panel of a range once, in order, with the sums of both weights.
TEST(FewRows, MultiplyEachPanelOnce) {
  constexpr Index outputs = 100, inputs = 37;
  const auto a = support::random_matrix<float>(outputs, inputs, 1),
             b = support::random_matrix<float>(outputs, inputs, 2);
  const PlainWeights first(a), second(b);
  for (Index rows = 1; rows <= detail::rows_by_block; ++rows)
    for (const Index k : {0, 3, 4, 8})
      for (const Index depth : {1, 4, 8, 21, 29}) {
        const auto x = support::random_matrix<float>(rows, depth, 3);
        for (const Index end : {2, 3, 6}) {
          Index next = 1;
          detail::multiply_few_rows<PlainWeights>(
              x, {&first, &second}, 1, end, k, depth, [&](Index p, const float* const* sums) {
                EXPECT_EQ(p, next++);
                for (int w = 0; w < 2; ++w) {
                  const auto part = (w == 0 ? a : b).block(p * panel_width, k, panel_width, depth);
                  const Eigen::Map<const Matrix<float>> sum(sums[w], rows, panel_width);
                  ASSERT_LE((sum - x * part.transpose()).cwiseAbs().maxCoeff(), 1e-4f);
                }
              });
          EXPECT_EQ(next, end);
        }
      }
}

TEST(FewRows, DecodeABlock) {
  const auto w = support::random_matrix<float>(16, 8, 1);
  alignas(64) float block[4 * 16];
  detail::decode_block<plain_blocks::PlainBlocks>(PlainWeights(w).block(0, 1), block);
  for (Index k = 0; k < 4; ++k)
    for (Index i = 0; i < 16; ++i) EXPECT_EQ(block[k * 16 + i], w(i, 4 + k));
}

}  // namespace few_rows_test
}  // namespace moe
