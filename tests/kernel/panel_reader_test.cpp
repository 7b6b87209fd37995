#include "moe/kernel/panel_reader.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "kernel/panels_case.hpp"

namespace moe::detail {
namespace panel_reader_test {

/// All panels of w, by runs, are the columns of its transpose, with zeros at their end.
template <class W>
void expect_panels(const W& w, Index k, Index depth, Index scratch_size) {
  std::vector<float> scratch(static_cast<std::size_t>(scratch_size), 7);
  PanelReader<W> reader(w, w.panels(), k, depth, scratch.data(), scratch_size);
  for (Index p = 0; p < w.panels();) {
    const PanelRun<float> run = reader.run(p, w.panels());
    ASSERT_GE(run.count, 1);
    for (Index i = 0; i < run.even(); ++i) EXPECT_EQ(run(i), run.first + i * run.stride);
    for (Index i = 0; i < run.count; ++i, ++p)
      for (Index j = 0; j < depth; ++j)
        for (Index o = 0; o < panel_width; ++o)
          EXPECT_EQ(run(i)[j * panel_width + o], p * panel_width + o < w.rows() ? w(p * panel_width + o, k + j) : 0);
  }
}

TEST(PanelReader, ReadsWeightsAndWhatIsDecodedAlike) {
  for (const Index outputs : {1, 16, 40, 48}) {
    const Matrix<float> w = support::random_matrix<float>(outputs, 9, 1);
    for (const auto& [k, depth] : {std::pair<Index, Index>{0, 9}, {3, 4}}) {
      expect_panels(Weights<float>(w), k, depth, panel_width * depth);
      expect_panels(panels_case::Int8Rows<float>(w), k, depth, panel_width * depth);
      expect_panels(panels_case::Int8Rows<float>(w), k, depth, 2 * panel_width * depth + 3);
    }
  }
}

TEST(PanelReader, WeightsAreReadWhereTheyLie) {
  const Weights<float> w = support::random_matrix<float>(48, 9, 1);
  const PanelRun<float> run = PanelReader<Weights<float>>(w, 3, 2, 5, nullptr, 0).run(1, 3);
  EXPECT_EQ(run.count, 2);
  EXPECT_EQ(run(0), w.panel(1) + 2 * panel_width);
  EXPECT_EQ(run(1), w.panel(2) + 2 * panel_width);
}

}  // namespace panel_reader_test
}  // namespace moe::detail
