#include "moe/io/gguf_families.hpp"

#include <gtest/gtest.h>

#include <string>
#include <variant>

#include "model_folder.hpp"
#include "moe/io/families.hpp"

namespace gguf_families_test {

using moe::ScoredTopK;
using moe::Scores;
using moe::TopK;

moe::io::FamilyGate gate_of(const std::string& family, const std::string& keys) {
  ModelFolder model;
  const auto checkpoint = model.open(R"({"model_type": ")" + family + R"(", "a.expert_used_count": 2)" + keys + "}");
  moe::io::Family entry = *moe::io::find_family(family, true);
  for (auto& setting : entry.settings)
    for (auto& name : setting.names) name = moe::detail::replaced(name, "{arch}", "a");
  return entry.gate(moe::io::Settings(checkpoint, entry, "blk.1"));
}

TEST(GgufFamilies, WhatAnArchitectureImplies) {
  EXPECT_EQ(std::get<TopK>(gate_of("qwen3moe", "")).weights, moe::ChoiceWeights::renormalized());
  EXPECT_EQ(std::get<TopK>(gate_of("qwen2moe", "")).weights, moe::ChoiceWeights::probabilities());
  EXPECT_EQ(std::get<TopK>(gate_of("gpt-oss", "")).weights, moe::ChoiceWeights::softmax_of_chosen());
  EXPECT_EQ(std::get<TopK>(gate_of("llama4", "")).weights, moe::ChoiceWeights::sigmoid());
  EXPECT_TRUE(moe::io::find_family("llama4", true)->dispatching != nullptr);
}

TEST(GgufFamilies, KeysSayMore) {
  const auto epsilon = moe::Epsilon::floor(6.1035e-5);
  const std::string keys = R"(, "a.expert_weights_scale": 2.5, "a.expert_weights_norm": true)";
  const auto scored = std::get<ScoredTopK>(gate_of("deepseek2", keys + R"(, "a.expert_gating_func": 2,
      "a.expert_group_count": 4, "a.expert_group_used_count": 2)"));
  EXPECT_EQ(scored.scores, Scores::sigmoid({.epsilon = epsilon, .scale = 2.5}));
  EXPECT_EQ(scored.groups_used, 2);
  EXPECT_EQ(scored.group_score, ScoredTopK::GroupScore::best_two);
  EXPECT_EQ(std::get<ScoredTopK>(gate_of("deepseek2", keys)).scores,
            Scores::softmax({.epsilon = epsilon, .scale = 2.5}));
  EXPECT_EQ(std::get<ScoredTopK>(gate_of("glm4moe", "")).scores, Scores::sigmoid({.epsilon = epsilon}));
  EXPECT_EQ(std::get<ScoredTopK>(gate_of("glm4moe", R"(, "a.expert_gating_func": 4)")).scores,
            Scores::sqrt_softplus({.epsilon = epsilon}));
  EXPECT_NE(message_of<moe::io::FileError>([] {
              gate_of("glm4moe", R"(, "a.expert_gating_func": 9)");
            }).find("'a.expert_gating_func' is 9, not 1, 2, 3 or 4"),
            std::string::npos);
}

}  // namespace gguf_families_test
