#include "checkpoint/rewrite.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/run.hpp"
#include "io/expected_layer.hpp"
#include "io/model_folder.hpp"
#include "io/temporary_folder.hpp"
#include "moe/core/random.hpp"
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
  checkpoint::rewrite(checkpoint::open_model(fixture("mixtral_sharded")), folder / "qwen", "qwen3_moe", {},
                      {.shard_size = 3000});
  EXPECT_TRUE(std::filesystem::exists(folder / "qwen" / "model.safetensors.index.json"));
  EXPECT_EQ(checkpoint::open_model((folder / "qwen").string()).family->name, "qwen3_moe");
  EXPECT_LE(
      distance(run(folder / "qwen", "mixtral_sharded").y_TD, expected("mixtral_sharded").matrix<double>("layers.1.y")),
      1e-10);
}

TEST(CheckpointRewrite, TheOwnFamilyInAnotherFormat) {
  const TemporaryFolder folder;
  checkpoint::rewrite(checkpoint::open_model(fixture("mixtral")), folder / "float", "", {},
                      {.format = NumberFormat::f32});
  const auto files = moe::io::Checkpoint::open(folder / "float");
  EXPECT_EQ(files.tensor(layer + ".block_sparse_moe.experts.0.w1.weight").format.name, "F32");
  EXPECT_LE(distance(run(folder / "float", "mixtral").y_TD, expected("mixtral").matrix<double>("layers.1.y")), 1e-10);
}

TEST(CheckpointRewrite, FilesOfGguf) {
  const TemporaryFolder folder;
  const Model model = checkpoint::open_model(fixture("qwen3_moe"));
  checkpoint::rewrite(model, folder / "model.gguf", "qwen3moe", {},
                      {.format = NumberFormat::f32, .experts_alone = true});
  const Model gguf = checkpoint::open_model((folder / "model.gguf").string());
  EXPECT_TRUE(gguf.files.is_gguf());
  const auto results = checkpoint::run_layer_in_double(gguf, "blk.1", fixture("qwen3_moe/expected.safetensors"));
  EXPECT_LE(distance(results.y_TD, expected("qwen3_moe").matrix<double>("layers.1.y")), 1e-10);
  EXPECT_NE(message_of<std::invalid_argument>([&] {
              checkpoint::rewrite(model, folder / "other.gguf", "", {}, {});
            }).find("state a family"),
            std::string::npos);
}

/// Two layers as Mixtral's, 4 experts each, width 6, and `others`.
struct MixtralFolder : ModelFolder {
  explicit MixtralFolder(const std::vector<std::string>& others = {}) {
    for (const std::string block : {"model.layers.0.block_sparse_moe.", "model.layers.1.block_sparse_moe."}) {
      add(block + "gate.weight", {4, 6});
      for (int e = 0; e < 4; ++e) {
        const std::string expert = block + "experts." + std::to_string(e);
        add(expert + ".w1.weight", {5, 6});
        add(expert + ".w2.weight", {6, 5});
        add(expert + ".w3.weight", {5, 6});
      }
    }
    for (const std::string& name : others) add(name, {2, 3});
  }
  Model model() {
    open(R"({"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2, "hidden_size": 6,
             "intermediate_size": 5, "hidden_act": "silu"})");
    return checkpoint::open_model(folder.path().string());
  }
};

std::vector<std::byte> bytes_of(const moe::io::Checkpoint& files, const std::string& name) {
  const auto mapped = files.bytes(name);
  return {mapped.bytes().begin(), mapped.bytes().end()};
}

TEST(CheckpointRewrite, OtherTensorsPassBetweenKindsOfFiles) {
  const std::vector<std::pair<std::string, std::string>> others{
      {"lm_head.weight", "output.weight"},
      {"model.layers.0.self_attn.rotary.weight", "model.layers.0.self_attn.rotary.weight"},
      {"model.layers.1.input_layernorm.weight", "blk.1.attn_norm.weight"}};
  MixtralFolder of({others[0].first, others[1].first, others[2].first});
  const Model model = of.model();
  const TemporaryFolder folder;
  testing::internal::CaptureStderr();
  checkpoint::rewrite(model, folder / "model.gguf", "llama", {}, {});
  const std::string told = testing::internal::GetCapturedStderr();
  EXPECT_NE(told.find("checkpoint: 1 of 3 tensors"), std::string::npos) << told;
  EXPECT_EQ(std::ranges::count(told, '\n'), 1);
  const Model gguf = checkpoint::open_model((folder / "model.gguf").string());
  EXPECT_EQ(gguf.files.names().size(), 2u * 4 + 3);
  testing::internal::CaptureStderr();
  checkpoint::rewrite(gguf, folder / "back", "mixtral", {}, {});
  testing::internal::GetCapturedStderr();
  const auto back = moe::io::Checkpoint::open(folder / "back");
  EXPECT_EQ(back.names().size(), model.files.names().size());
  for (const auto& [name, other] : others) {
    EXPECT_EQ(gguf.files.tensor(other).shape, model.files.tensor(name).shape);
    EXPECT_EQ(bytes_of(gguf.files, other), bytes_of(model.files, name));
    EXPECT_EQ(bytes_of(back, name), bytes_of(model.files, name));
  }
}

TEST(CheckpointRewrite, NamesTheTensorThatTheOtherKindCannotHold) {
  MixtralFolder of;
  of.writer.add("model.layers.0.self_attn.q_proj.weight", moe::io::DType::F8_E4M3, {2, 3}, std::vector<std::byte>(6));
  const Model model = of.model();
  const TemporaryFolder folder;
  const std::string message =
      message_of<moe::io::FileError>([&] { checkpoint::rewrite(model, folder / "model.gguf", "llama", {}, {}); });
  EXPECT_NE(message.find("'blk.0.attn_q.weight': GGUF has no type F8_E4M3"), std::string::npos) << message;
  EXPECT_FALSE(std::filesystem::exists(folder / "model.gguf"));
}

TEST(CheckpointRewrite, RefusesShardsOfGguf) {
  MixtralFolder of;
  const TemporaryFolder folder;
  EXPECT_NE(message_of<std::invalid_argument>([&] {
              checkpoint::rewrite(of.model(), folder / "model.gguf", "llama", {}, {.shard_size = 1000});
            }).find("--shard-size is for folders"),
            std::string::npos);
}

TEST(CheckpointRewrite, ChangedLayersGoIntoTheOtherKind) {
  MixtralFolder of;
  const Model model = of.model();
  const TemporaryFolder folder;
  checkpoint::rewrite(model, folder / "pruned.gguf", "llama", checkpoint::kept(model, {0, 2}), {});
  const Model pruned = checkpoint::open_model((folder / "pruned.gguf").string());
  EXPECT_EQ(pruned.files.tensor("blk.1.ffn_gate_inp.weight").shape, (std::vector<std::uint64_t>{2, 6}));
}

TEST(CheckpointRewrite, MergesInDoubleWhatIsStoredSo) {
  const TemporaryFolder folder;
  ModelFolder of;
  moe::Matrix<double> all_ED = moe::random_matrix<double>(4, 6, of.rng);
  of.writer.add("model.layers.0.block_sparse_moe.gate.weight", all_ED);
  for (int e = 0; e < 4; ++e) {
    const std::string expert = "model.layers.0.block_sparse_moe.experts." + std::to_string(e);
    of.writer.add(expert + ".w1.weight", moe::random_matrix<double>(5, 6, of.rng));
    of.writer.add(expert + ".w2.weight", moe::random_matrix<double>(6, 5, of.rng));
    of.writer.add(expert + ".w3.weight", moe::random_matrix<double>(5, 6, of.rng));
  }
  of.open(R"({"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2, "hidden_size": 6,
              "intermediate_size": 5, "hidden_act": "silu"})");
  const Model model = checkpoint::open_model(of.folder.path().string());
  checkpoint::rewrite(model, folder / "merged", "", checkpoint::merged(model, {{1, 2}}), {});
  const auto merged = moe::io::Checkpoint::open(folder / "merged");
  const std::string router = "model.layers.0.block_sparse_moe.gate.weight";
  EXPECT_EQ(merged.tensor(router).format.name, "F64");
  const auto merged_ED = merged.stored(router).matrix<double>();
  ASSERT_EQ(merged_ED.rows(), 3);
  EXPECT_EQ(merged_ED.row(0), all_ED.row(0));
  EXPECT_LE(distance(merged_ED.row(1), 0.5 * (all_ED.row(1) + all_ED.row(2))), 1e-15);
  EXPECT_EQ(merged_ED.row(2), all_ED.row(3));
}

TEST(CheckpointRewrite, TheLongestRowsOfTheRouterStay) {
  ModelFolder of;
  const std::string block = "model.layers.0.mlp.";  // experts 3 and 4 copy their input
  of.writer.add(block + "router.classifier.weight", moe::Matrix<float>{{1, 0}, {3, -4}, {-2, 0}, {0, 0}, {0, 9}});
  of.add(block + "router.e_score_correction_bias", {5});
  for (const char* e : {"0", "1", "2"}) {
    of.add(block + "experts." + e + ".gate_proj.weight", {3, 2});
    of.add(block + "experts." + e + ".up_proj.weight", {3, 2});
    of.add(block + "experts." + e + ".down_proj.weight", {2, 3});
  }
  of.open(R"({"model_type": "longcat_flash", "n_routed_experts": 3, "zero_expert_num": 2, "moe_topk": 2,
              "hidden_size": 2, "expert_ffn_hidden_size": 3, "routed_scaling_factor": 6})");
  const Model model = checkpoint::open_model(of.folder.path().string());
  const auto sources = checkpoint::longest_rows(model, 2);
  const auto& parents = sources.at("model.layers.0").parents;
  std::vector<Index> stay;
  for (const auto& own : parents) stay.push_back(own.front().expert);
  EXPECT_EQ(stay, (std::vector<Index>{1, 2, 3, 4}));
  EXPECT_NE(message_of<std::invalid_argument>([&] { checkpoint::longest_rows(model, 4); }).find("of the 3 experts"),
            std::string::npos);
  const TemporaryFolder folder;
  checkpoint::rewrite(model, folder / "pruned", "", sources, {});
  const Model pruned = checkpoint::open_model((folder / "pruned").string());
  EXPECT_EQ(pruned.files.configuration().require<int>("n_routed_experts"), 2);
  EXPECT_EQ(pruned.files.configuration().require<int>("zero_expert_num"), 2);
}

TEST(CheckpointRewrite, AsManyStayOfEachGroup) {
  const Model model = checkpoint::open_model(fixture("deepseek_v3"));  // 4 groups of 2 experts
  const auto rows_ED = model.files.stored("model.layers.1.mlp.gate.weight").matrix<double>();
  const auto sources = checkpoint::longest_rows(model, 4);
  ASSERT_EQ(sources.at(layer).parents.size(), 4u);
  for (Index g = 0; g < 4; ++g) {
    const Index longer = rows_ED.row(2 * g).norm() >= rows_ED.row(2 * g + 1).norm() ? 2 * g : 2 * g + 1;
    EXPECT_EQ(sources.at(layer).parents[static_cast<std::size_t>(g)].front().expert, longer);
  }
  EXPECT_NE(message_of<std::invalid_argument>([&] { checkpoint::longest_rows(model, 6); }).find("their 4 groups"),
            std::string::npos);
}

TEST(CheckpointRewrite, GoesBesideItsSource) {
  const TemporaryFolder folder;
  std::filesystem::copy(fixture("mixtral"), folder / "a-1.5");
  for (const char* const name : {"a-1.5", "a-1.5/"}) {
    EXPECT_EQ(checkpoint::path_beside(checkpoint::open_model((folder / name).string()), "-pruned"),
              folder / "a-1.5-pruned");
  }
  EXPECT_EQ(checkpoint::path_beside(
                checkpoint::open_model((folder / "a-1.5" / "model.safetensors").string(), "mixtral"), "-pruned"),
            folder / "a-1.5" / "model-pruned");
  std::filesystem::copy(fixture("gguf_models/qwen3moe_q8_0.gguf"), folder / "b.q8.gguf");
  EXPECT_EQ(checkpoint::path_beside(checkpoint::open_model((folder / "b.q8.gguf").string()), "-merged"),
            folder / "b.q8-merged.gguf");
}

TEST(CheckpointRewrite, KeptExpertsKeepTheirLogits) {
  const TemporaryFolder folder;
  const Model model = checkpoint::open_model(fixture("mixtral"));
  checkpoint::rewrite(model, folder / "pruned", "", checkpoint::kept(model, {3, 0}), {});
  const auto logits_TE = run(folder / "pruned", "mixtral").logits_TE;
  const auto before_TE = expected("mixtral").matrix<double>("layers.1.logits");
  ASSERT_EQ(logits_TE.cols(), 2);
  EXPECT_LE(distance(logits_TE.col(0), before_TE.col(3)), 1e-12);
  EXPECT_LE(distance(logits_TE.col(1), before_TE.col(0)), 1e-12);
  EXPECT_THROW(checkpoint::rewrite(model, folder / "none", "", checkpoint::kept(model, {4}), {}), std::exception);
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
  checkpoint::rewrite(model, folder / "merged", "", checkpoint::merged(model, {{3, 1}}), {.format = NumberFormat::f32});
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
