#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "checkpoint/common_names.hpp"
#include "moe/io/families.hpp"

namespace checkpoint_names_test {

using checkpoint::common_name;
using moe::io::find_family;

std::string to_gguf(const std::string& name, const char* from, const char* to) {
  return common_name(name, *find_family(from), *find_family(to, true)).value_or("");
}
std::string from_gguf(const std::string& name, const char* from, const char* to) {
  return common_name(name, *find_family(from, true), *find_family(to)).value_or("");
}

TEST(CheckpointNames, AreThoseOfLlamaCpp) {
  for (const auto& [transformers, gguf] :
       {std::pair("model.embed_tokens.weight", "token_embd.weight"),
        {"model.norm.weight", "output_norm.weight"},
        {"model.norm.bias", "output_norm.bias"},
        {"lm_head.weight", "output.weight"},
        {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"},
        {"model.layers.12.post_attention_layernorm.weight", "blk.12.ffn_norm.weight"},
        {"model.layers.3.self_attn.q_proj.weight", "blk.3.attn_q.weight"},
        {"model.layers.3.self_attn.k_proj.bias", "blk.3.attn_k.bias"},
        {"model.layers.3.self_attn.v_proj.weight", "blk.3.attn_v.weight"},
        {"model.layers.3.self_attn.o_proj.bias", "blk.3.attn_output.bias"},
        {"model.layers.3.self_attn.q_norm.weight", "blk.3.attn_q_norm.weight"},
        {"model.layers.3.self_attn.k_norm.weight", "blk.3.attn_k_norm.weight"}}) {
    EXPECT_EQ(to_gguf(transformers, "qwen3_moe", "qwen3moe"), gguf);
    EXPECT_EQ(from_gguf(gguf, "qwen3moe", "qwen3_moe"), transformers);
  }
}

TEST(CheckpointNames, FollowTheFamily) {
  const std::string norm = "model.layers.1.post_attention_layernorm.weight", other = "blk.1.post_attention_norm.weight";
  EXPECT_EQ(to_gguf(norm, "gpt_oss", "gpt-oss"), other);
  EXPECT_EQ(from_gguf(other, "gpt-oss", "gpt_oss"), norm);
  EXPECT_EQ(from_gguf(other, "llama", "mixtral"), "");
  const std::string q = "language_model.model.layers.1.self_attn.q_proj.weight";
  EXPECT_EQ(to_gguf(q, "llama4", "llama4"), "blk.1.attn_q.weight");
  EXPECT_EQ(from_gguf("blk.1.attn_q.weight", "llama4", "llama4"), q);
  EXPECT_EQ(to_gguf("language_model.lm_head.weight", "llama4", "llama4"), "output.weight");
  EXPECT_EQ(to_gguf("model.layers.1.self_attn.q_proj.weight", "llama4", "llama4"), "blk.1.attn_q.weight");
}

TEST(CheckpointNames, AreNotGuessed) {
  for (const char* name : {"model.layers.0.self_attn.q_proj.weight_scale_inv", "model.layers.0.self_attn.sinks",
                           "model.layers..input_layernorm.weight", "model.layers.x.input_layernorm.weight",
                           "model.layers.0.mlp.input_layernorm.weight", "other.layers.0.input_layernorm.weight",
                           "norm.weight", ".weight", "weight", ""})
    EXPECT_EQ(to_gguf(name, "mixtral", "llama"), "") << name;
  EXPECT_EQ(from_gguf("output.weight", "dbrx", "dbrx"), "") << "dbrx calls nothing so";
}

}  // namespace checkpoint_names_test
