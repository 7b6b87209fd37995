#include "moe/io/family_gates.hpp"

#include <gtest/gtest.h>

#include <string>
#include <variant>

#include "model_folder.hpp"
#include "moe/io/families.hpp"

namespace family_gates_test {

using moe::ScoredTopK;
using moe::Scores;
using moe::TopK;

/// The gate that a family makes of these settings.
moe::io::FamilyGate gate_of(const std::string& family, const std::string& config) {
  ModelFolder model;
  const auto checkpoint = model.open("{" + config + "}");
  const auto* const known = moe::io::find_family(family);
  return known->gate(moe::io::Settings(checkpoint, *known, "model.layers.1"));
}

TEST(FamilyGates, GroupsOfDeepSeek) {
  const std::string config = R"("num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "norm_topk_prob": true,
      "routed_scaling_factor": 4, "topk_method": )";
  const auto limited = std::get<ScoredTopK>(gate_of("deepseek_v2", config + R"("group_limited_greedy")"));
  EXPECT_EQ(limited.groups, 4);
  EXPECT_EQ(limited.groups_used, 2);
  EXPECT_EQ(limited.group_score, ScoredTopK::GroupScore::best);
  EXPECT_EQ(limited.scores, Scores::softmax({.normalize = false, .epsilon = 0, .scale = 4}));
  EXPECT_EQ(std::get<ScoredTopK>(gate_of("deepseek_v2", config + R"("greedy")")).groups, 1);
  const auto third = std::get<ScoredTopK>(gate_of("deepseek_v3", config + R"("noaux_tc")"));
  EXPECT_EQ(third.scores, Scores::sigmoid({.scale = 4}));
  EXPECT_EQ(third.group_score, ScoredTopK::GroupScore::best_two);
  const auto error = [](auto&& f) { return message_of<moe::io::FileError>(f); };
  EXPECT_NE(error([&] { gate_of("deepseek_v2", config + R"("best")"); }).find("'topk_method' is 'best', not 'greedy'"),
            std::string::npos);
  EXPECT_NE(error([&] { gate_of("deepseek_v3", config + R"("", "scoring_func": "cosine")"); }).find("is 'cosine'"),
            std::string::npos);
}

TEST(FamilyGates, OneChoiceOfConstantWeightIsMeant) {
  std::get<TopK>(gate_of("mixtral", R"("num_experts_per_tok": 1)")).check(4);
  std::get<TopK>(gate_of("gpt_oss", R"("num_experts_per_tok": 1)")).check(4);
  std::get<ScoredTopK>(gate_of("deepseek_v3", R"("num_experts_per_tok": 1)")).check(4);
}

TEST(FamilyGates, NormsAndPolicies) {
  EXPECT_EQ(
      std::get<TopK>(gate_of("dbrx", R"("ffn_config": {"moe_top_k": 4, "moe_normalize_expert_weights": 2})")).weights,
      moe::ChoiceWeights::renormalized({.norm = 2}));
  EXPECT_NE(message_of<moe::io::FileError>([] {
              gate_of("nllb_moe", R"("second_expert_policy": "random")");
            }).find("'second_expert_policy' is 'random'"),
            std::string::npos);
}

}  // namespace family_gates_test
