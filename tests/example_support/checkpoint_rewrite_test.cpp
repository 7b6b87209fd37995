#include "checkpoint/rewrite.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "checkpoint/run.hpp"
#include "io/expected_layer.hpp"
#include "io/temporary_folder.hpp"
#include "moe/io/safetensors.hpp"

namespace checkpoint_rewrite_test {

using checkpoint::Model;
using checkpoint::RewriteOptions;
using moe::Index;
using moe::io::NumberFormat;
using moe::io::Safetensors;

const std::string layer = "model.layers.1";

Safetensors expected(const std::string& folder) { return Safetensors::open(fixture(folder + "/expected.safetensors")); }

checkpoint::Results<double> run(const std::filesystem::path& path, const std::string& folder) {
  return checkpoint::run_layer_in_double(checkpoint::open_model(path.string()), layer,
                                         fixture(folder + "/expected.safetensors"));
}

TEST(CheckpointRewrite, AnotherFamilyComputesTheSame) {
  const TemporaryFolder folder;
  checkpoint::convert(checkpoint::open_model(fixture("mixtral_sharded")), folder / "qwen", "qwen3_moe",
                      {.shard_size = 3000});
  EXPECT_TRUE(std::filesystem::exists(folder / "qwen" / "model.safetensors.index.json"));
  EXPECT_EQ(checkpoint::open_model((folder / "qwen").string()).family->name, "qwen3_moe");
  EXPECT_LE(
      distance(run(folder / "qwen", "mixtral_sharded").y_TD, expected("mixtral_sharded").matrix<double>("layers.1.y")),
      1e-10);
}

TEST(CheckpointRewrite, TheOwnFamilyInAnotherFormat) {
  const TemporaryFolder folder;
  checkpoint::convert(checkpoint::open_model(fixture("mixtral")), folder / "float", "", {.format = NumberFormat::f32});
  const auto files = moe::io::Checkpoint::open(folder / "float");
  EXPECT_EQ(files.tensor(layer + ".block_sparse_moe.experts.0.w1.weight").format.name, "F32");
  EXPECT_LE(distance(run(folder / "float", "mixtral").y_TD, expected("mixtral").matrix<double>("layers.1.y")), 1e-10);
}

TEST(CheckpointRewrite, FilesOfGguf) {
  const TemporaryFolder folder;
  const Model model = checkpoint::open_model(fixture("qwen3_moe"));
  checkpoint::convert(model, folder / "model.gguf", "qwen3moe", {.format = NumberFormat::f32, .experts_alone = true});
  const Model gguf = checkpoint::open_model((folder / "model.gguf").string());
  EXPECT_TRUE(gguf.files.is_gguf());
  const auto results = checkpoint::run_layer_in_double(gguf, "blk.1", fixture("qwen3_moe/expected.safetensors"));
  EXPECT_LE(distance(results.y_TD, expected("qwen3_moe").matrix<double>("layers.1.y")), 1e-10);
  EXPECT_NE(message_of<std::invalid_argument>([&] {
              checkpoint::convert(model, folder / "other.gguf", "", {});
            }).find("state a family"),
            std::string::npos);
}

TEST(CheckpointRewrite, KeptExpertsKeepTheirLogits) {
  const TemporaryFolder folder;
  const Model model = checkpoint::open_model(fixture("mixtral"));
  checkpoint::rearrange(model, folder / "pruned", checkpoint::kept(model, {3, 0}), {});
  const auto logits_TE = run(folder / "pruned", "mixtral").logits_TE;
  const auto before_TE = expected("mixtral").matrix<double>("layers.1.logits");
  ASSERT_EQ(logits_TE.cols(), 2);
  EXPECT_LE(distance(logits_TE.col(0), before_TE.col(3)), 1e-12);
  EXPECT_LE(distance(logits_TE.col(1), before_TE.col(0)), 1e-12);
  EXPECT_THROW(checkpoint::rearrange(model, folder / "none", checkpoint::kept(model, {4}), {}), std::exception);
  EXPECT_FALSE(std::filesystem::exists(folder / "none"));
}

TEST(CheckpointRewrite, TheMostLoadedStay) {
  const Model model = checkpoint::open_model(fixture("qwen3_moe"));
  const auto sources = checkpoint::most_loaded(model, 5, fixture("qwen3_moe/expected.safetensors"));
  ASSERT_EQ(sources.size(), 2u);
  const auto index_TK = expected("qwen3_moe").matrix<std::int64_t>("layers.1.topk.index");
  const auto chosen = [&](Index e) { return (index_TK.array() == e).count(); };
  std::vector<bool> stays(8);
  Index least_kept = 1000, most_gone = 0;
  for (const auto& parents : sources.at(layer).parents) {
    stays[static_cast<std::size_t>(parents.front().expert)] = true;
    least_kept = std::min<Index>(least_kept, chosen(parents.front().expert));
  }
  for (Index e = 0; e < 8; ++e)
    if (!stays[static_cast<std::size_t>(e)]) most_gone = std::max<Index>(most_gone, chosen(e));
  EXPECT_EQ(std::ranges::count(stays, true), 5);
  EXPECT_GE(least_kept, most_gone);
}

TEST(CheckpointRewrite, MergedExpertsAreTheirMean) {
  const TemporaryFolder folder;
  const Model model = checkpoint::open_model(fixture("mixtral"));
  checkpoint::rearrange(model, folder / "merged", checkpoint::merged(model, {{3, 1}}), {.format = NumberFormat::f32});
  const auto rows_of = [&](const std::string& path) {
    return moe::io::Checkpoint::open(path).stored(layer + ".block_sparse_moe.gate.weight").matrix<double>();
  };
  const auto before_ED = rows_of(fixture("mixtral")), after_ED = rows_of((folder / "merged").string());
  ASSERT_EQ(after_ED.rows(), 3);  // experts 0, 2, and the mean in the place of 3
  EXPECT_LE(distance(after_ED.row(0), before_ED.row(0)), 1e-12);
  EXPECT_LE(distance(after_ED.row(1), before_ED.row(2)), 1e-12);
  EXPECT_LE(distance(after_ED.row(2), 0.5 * (before_ED.row(1) + before_ED.row(3))), 0.01);  // in BF16
}

TEST(CheckpointRewrite, LoadWeighsWhatIsMerged) {
  const Model model = checkpoint::open_model(fixture("mixtral"));
  const auto sources = checkpoint::merged(model, {{0, 1, 2}}, fixture("mixtral/expected.safetensors"));
  const auto index_TK = expected("mixtral").matrix<std::int64_t>("layers.1.topk.index");
  const auto chosen = [&](Index e) { return static_cast<double>((index_TK.array() == e).count()); };
  const auto& parents = sources.at(layer).parents;
  ASSERT_EQ(parents.size(), 2u);
  ASSERT_EQ(parents[0].size(), 3u);
  for (const moe::ExpertShare& share : parents[0])
    EXPECT_NEAR(share.share, chosen(share.expert) / (chosen(0) + chosen(1) + chosen(2)), 1e-12);
  EXPECT_EQ(parents[1].front().expert, 3);
}

TEST(CheckpointRewrite, SaysWhichExpertIsWrong) {
  const Model model = checkpoint::open_model(fixture("mixtral"));
  for (const std::vector<std::vector<Index>>& groups :
       {std::vector<std::vector<Index>>{{0, 4}}, {{0, 0}}, {{0, 1}, {2, 0}}, {{-1, 2}}})
    EXPECT_NE(message_of<std::invalid_argument>([&] { checkpoint::merged(model, groups); }).find("of model.layers.0"),
              std::string::npos);
}

}  // namespace checkpoint_rewrite_test
