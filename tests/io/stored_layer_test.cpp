#include "moe/io/stored_layer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "block_fixture.hpp"
#include "model_folder.hpp"
#include "moe/io/families.hpp"

namespace stored_layer_test {

using moe::io::Checkpoint;
using moe::io::Part;
using moe::io::StoredLayer;

StoredLayer open(const std::string& folder, const std::string& layer) {
  const auto checkpoint = Checkpoint::open(fixture(folder));
  return StoredLayer(checkpoint, layer, moe::io::family_of(checkpoint));
}

TEST(StoredLayer, TellsSizesAndNames) {
  const auto layer = open("qwen2_moe", "model.layers.1");
  EXPECT_EQ(layer.experts(), 6);
  EXPECT_EQ(layer.width(), 12);
  EXPECT_EQ(layer.hidden(), 10);
  EXPECT_EQ(layer.shared_hidden(), 18);
  EXPECT_EQ(layer.weights(), 1 + 3 * 6 + 4);
  EXPECT_EQ(layer.used().size(), 23u);
  EXPECT_EQ(layer.names(Part::shared_mix), std::vector<std::string>{"model.layers.1.mlp.shared_expert_gate.weight"});
  EXPECT_EQ(layer.names(Part::up)[5], "model.layers.1.mlp.experts.5.up_proj.weight");
  EXPECT_EQ(layer.ignored(), (std::vector<std::string>{"model.layers.1.input_layernorm.weight",
                                                       "model.layers.1.self_attn.q_proj.weight"}));
  EXPECT_EQ(layer.weight(Part::router_bias), nullptr);
  EXPECT_EQ(open("gpt_oss_mxfp4", "model.layers.0").names(Part::up),
            (std::vector<std::string>{"model.layers.0.mlp.experts.gate_up_proj_blocks",
                                      "model.layers.0.mlp.experts.gate_up_proj_scales"}));
  EXPECT_EQ(open("deepseek_v3_fp8", "model.layers.1").names(Part::down).size(), 2u * 4);
}

/// A mixtral layer of 2 experts, (3, 4), with changes.
struct Mixtral {
  std::string without = {}, more = {};
  std::vector<std::uint64_t> up = {3, 4}, router = {2, 4};
  std::string config = R"("num_local_experts": 2, "num_experts_per_tok": 1, "hidden_size": 4, "intermediate_size": 3)";

  std::string error() const {
    ModelFolder model;
    const std::string block = "model.layers.0.block_sparse_moe.";
    const auto add = [&](const std::string& name, const std::vector<std::uint64_t>& shape) {
      if (name != without) model.add(block + name, shape);
    };
    add("gate.weight", router);
    for (const std::string expert : {"experts.0.", "experts.1."}) {
      add(expert + "w1.weight", {3, 4});
      add(expert + "w2.weight", {4, 3});
      add(expert + "w3.weight", up);
    }
    if (!more.empty()) add(more, {1});
    return message_of<moe::io::FileError>([&] {
      const auto checkpoint = model.open(R"({"model_type": "mixtral", )" + config + "}");
      StoredLayer(checkpoint, "model.layers.0", moe::io::family_of(checkpoint));
    });
  }
};

void expect(const Mixtral& model, const std::string& part) {
  const std::string reason = model.error();
  EXPECT_NE(reason.find(part), std::string::npos) << "'" << part << "' is not in: " << reason;
}

TEST(StoredLayer, ATensorTooFewOrTooManyIsNamed) {
  EXPECT_EQ(Mixtral{}.error(), "");
  const std::string block = "'model.layers.0.block_sparse_moe.";
  expect({.without = "gate.weight"}, "no tensor " + block + "gate.weight'");
  expect({.without = "experts.0.w3.weight"}, "no tensor " + block + "experts.0.w3.weight'");
  expect({.without = "experts.1.w3.weight"}, "no tensor " + block + "experts.1.w3.weight'");
  expect({.more = "experts.2.w1.weight"},
         "tensor " + block + "experts.2.w1.weight' is no part of a layer of the family 'mixtral'");
  expect({.more = "gate.bias"}, "tensor " + block + "gate.bias' is no part");
}

TEST(StoredLayer, SettingsThatTheTensorsContradictAreNamed) {
  const auto config = [](const std::string& experts, const std::string& width, const std::string& hidden) {
    return R"("num_experts_per_tok": 1, "num_local_experts": )" + experts + R"(, "hidden_size": )" + width +
           R"(, "intermediate_size": )" + hidden;
  };
  const std::string router = "by tensor 'model.layers.0.block_sparse_moe.gate.weight', F32 [2, 4], it is ";
  expect({.config = config("3", "4", "3")}, "setting 'num_local_experts' is 3, " + router + "2");
  expect({.config = config("2", "5", "3")}, "setting 'hidden_size' is 5, " + router + "4");
  expect({.config = config("2", "4", "6")}, "setting 'intermediate_size' is 6, by tensor");
  expect({.up = {4, 3}}, "setting 'intermediate_size' is 3, by tensor");
  expect({.up = {3, 5}}, "w3.weight' is F32 [3, 5], not 1 x 3 x 4, with 2 experts, width 4 and hidden width 3");
  expect({.router = {2, 4, 1}}, "is F32 [2, 4, 1], not (experts, width)");
  expect({.config = R"("num_local_experts": 2)"}, "no setting 'num_experts_per_tok'");
  expect({.config = R"("num_local_experts": 2, "num_experts_per_tok": "two")"}, "is '\"two\"', not an integer");
}

TEST(StoredLayer, ASharedExpertThatTheSettingsStateMustBeThere) {
  ModelFolder model;
  const std::string block = "model.layers.0.mlp.";
  model.add(block + "gate.weight", {1, 4});
  for (const char* name : {"gate_proj", "up_proj"}) model.add(block + "experts.0." + name + ".weight", {3, 4});
  model.add(block + "experts.0.down_proj.weight", {4, 3});
  const auto error = [&](const std::string& config) {
    return message_of<moe::io::FileError>([&] {
      const auto checkpoint = model.open(R"({"model_type": "deepseek_v2", "num_experts_per_tok": 1, )" + config + "}");
      StoredLayer(checkpoint, "model.layers.0", moe::io::family_of(checkpoint));
    });
  };
  EXPECT_EQ(error(R"("n_shared_experts": null)"), "");
  EXPECT_EQ(error(R"("n_shared_experts": 0)"), "");
  EXPECT_NE(error(R"("n_shared_experts": 2)").find("no tensor 'model.layers.0.mlp.shared_experts.gate_proj.weight'"),
            std::string::npos);
}

}  // namespace stored_layer_test
