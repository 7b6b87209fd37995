#include "moe/layer/run_in_cache.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "layer/some_experts.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/expert/mlp.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace run_in_cache_test {

using layer_experts::LayerOf, layer_experts::ManyThreads, layer_experts::inference;
using support::same_bits;

// What nobody reads again goes through the thread's own memory. Which units are dropped depends on the row among all of
// the expert's.
TEST(RunInCache, BlocksOfRowsLeaveNothingBehindInInference) {
  std::mt19937_64 rng(1);
  const auto experts = make_experts<Mlp<float>>(3, 21, 1100, rng, ExpertOptions{.dropout = 0.5});
  LayerOf<Mlp<float>>::Tape by_rows, by_stages, drawing;
  inference<Serial>(experts, false, by_rows);
  EXPECT_EQ(by_rows.x_ND.capacity(), 0);
  EXPECT_EQ(by_rows.experts[0].hidden_NF.capacity(), 0);
  inference<ManyThreads>(experts, false, by_stages);
  EXPECT_EQ(by_stages.x_ND.rows(), 240);
  inference<Serial>(experts, true, drawing);
  EXPECT_EQ(drawing.x_ND.rows(), 240);
}

/// Adds what a layer of its own type makes of the rows, in its last stage.
struct Tree : Mlp<float> {
  std::shared_ptr<const Layer<Router<float>, TopK, Tree>> inner = {};

  using StagesOf = Tree;
  static constexpr int stages = 3;
  Index rows_of_block() const { return inner ? 24 : 4; }
  Index forward_columns(int stage) const { return stage < 2 ? Mlp<float>::forward_columns(stage) : inner ? 1 : 0; }
  void forward_stage(int stage, ConstMatrixRef<float> x, MatrixRef<float> y, Tape& tape, Index row, Index first,
                     Index count) const {
    if (stage < 2) return Mlp<float>::forward_stage(stage, x, y, tape, row, first, count);
    y += inner->forward<Serial>(Matrix<float>(x));
  }
};

TEST(RunInCache, APassInsideAPassDoesNotTakeItsMemory) {
  std::mt19937_64 rng(1);
  const auto mlps = make_experts<Mlp<float>>(3, 21, 40, rng);
  const Layer<Router<float>, TopK, Tree> inner{Router<float>::random(2, 21, rng), TopK{.k = 2},
                                               std::vector<Tree>{{mlps[0]}, {mlps[1]}}};
  const auto shared = std::make_shared<const Layer<Router<float>, TopK, Tree>>(inner);
  const std::vector<Tree> trees{{mlps[2], shared}, {mlps[1], shared}};
  LayerOf<Tree>::Tape kept, tape;
  const LayerOf<Tree> layer{Router<float>::random(2, 21, rng), TopK{.k = 2}, trees};
  const Matrix<float> x_TD = support::random_matrix<float>(120, 21, 2), y_TD = layer.forward(x_TD, kept, Serial{});
  tape.keep_activations = false;
  EXPECT_TRUE(same_bits(layer.forward(x_TD, tape, Serial{}), y_TD));
  EXPECT_EQ(tape.x_ND.rows(), 0);
}

// Their weights would be read from memory once for each block.
TEST(RunInCache, LargeExpertsTakeOneStageAfterTheOther) {
  EXPECT_GT(detail::rows_of_block<float>(1 << 20, 1024), 0);
  EXPECT_EQ(detail::rows_of_block<float>((1 << 20) + 1, 1024), 0);
  EXPECT_EQ(detail::rows_of_block<double>(1 << 20, 1024), 0);
}

}  // namespace run_in_cache_test
}  // namespace moe
