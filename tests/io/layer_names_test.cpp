#include "moe/io/layer_names.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "block_fixture.hpp"
#include "model_folder.hpp"
#include "moe/io/families.hpp"

namespace layer_names_test {

using Names = std::vector<std::string>;

Names names_of(const moe::io::Checkpoint& checkpoint) {
  return moe::io::layer_names(checkpoint, moe::io::family_of(checkpoint));
}

TEST(LayerNames, AreThoseOfLayersWithARouter) {
  const auto of = [](const std::string& name) { return names_of(moe::io::Checkpoint::open(fixture(name))); };
  EXPECT_EQ(of("deepseek_v3"), Names{"model.layers.1"}) << "layer 0 is dense";
  EXPECT_EQ(of("mixtral_sharded"), (Names{"model.layers.0", "model.layers.1"}));
  EXPECT_EQ(of("llama4"), Names{"language_model.model.layers.1"});
  EXPECT_EQ(of("nllb_moe"), (Names{"model.encoder.layers.1", "model.decoder.layers.1"}));
  EXPECT_EQ(of("gguf_models/qwen3moe_q8_0.gguf"), (Names{"blk.0", "blk.1"}));
}

TEST(LayerNames, AreInTheOrderOfNumbers) {
  ModelFolder model;
  for (const char* n : {"10", "9", "x", "07", "99999999999999999999", ""})
    model.add("model.layers." + std::string(n) + ".mlp.gate.weight", {1});
  model.add("model.layers.3.mlp.gate.weight.more", {1});
  EXPECT_EQ(names_of(model.open(R"({"model_type": "qwen3_moe"})")), (Names{"model.layers.9", "model.layers.10"}));
}

}  // namespace layer_names_test
