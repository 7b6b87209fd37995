#include "moe/io/transformers_families.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "model_folder.hpp"
#include "moe/io/families.hpp"
#include "moe/io/stored_layer.hpp"

namespace transformers_families_test {

using moe::Index;
using moe::io::Order;
using moe::io::Outputs;
using moe::io::Part;
using moe::io::StoredLayer;

using Numbers = std::vector<float>;

/// Number (i, j) of expert e's matrix is number `place(e, i, j)` of the tensor.
template <class Place>
void expect_numbers(const StoredLayer& layer, Part part, const Numbers& numbers, const Place& place) {
  for (Index e = 0; e < layer.experts(); ++e) {
    const auto* const weight = layer.weight(part, e);
    ASSERT_NE(weight, nullptr);
    const auto found = weight->vector<float>();
    for (Index i = 0; i < weight->outputs; ++i)
      for (Index j = 0; j < weight->inputs; ++j)
        ASSERT_EQ(found(i * weight->inputs + j), numbers[static_cast<std::size_t>(place(e, i, j))]);
  }
}

constexpr std::uint64_t E = 3, D = 6, F = 6;  // square: shapes tell nothing
constexpr Index d = 6, f = 6;

TEST(TransformersFamilies, StackedAsOutputsAndInputs) {
  for (const bool is_jet : {false, true}) {
    ModelFolder model;
    const std::string block = is_jet ? "model.layers.2.mlp." : "model.language_model.layers.2.mlp.";
    model.add(block + (is_jet ? "router.layer.weight" : "gate.weight"), {E, D});
    const Numbers gate_up = model.add(block + (is_jet ? "input_linear.weight" : "experts.gate_up_proj"), {E, 2 * F, D});
    const Numbers down = model.add(block + (is_jet ? "output_linear.weight" : "experts.down_proj"), {E, D, F});
    if (is_jet) model.add(block + "bias", {D});
    const auto checkpoint = model.open(
        is_jet ? R"({"model_type": "jetmoe", "num_local_experts": 3, "num_experts_per_tok": 2, "hidden_size": 6,
                     "ffn_hidden_size": 6})"
               : R"({"model_type": "qwen3_5_moe", "text_config": {"num_experts": 3, "num_experts_per_tok": 2,
                     "hidden_size": 6, "moe_intermediate_size": 6, "norm_topk_prob": false}})");
    const StoredLayer layer(checkpoint, block.substr(0, block.size() - 5), moe::io::family_of(checkpoint));
    expect_numbers(layer, Part::gate, gate_up, [](Index e, Index i, Index j) { return (e * 2 * f + i) * d + j; });
    expect_numbers(layer, Part::up, gate_up, [](Index e, Index i, Index j) { return (e * 2 * f + f + i) * d + j; });
    expect_numbers(layer, Part::down, down, [](Index e, Index i, Index j) { return (e * d + i) * f + j; });
    EXPECT_EQ(layer.has(Part::output_bias), is_jet);
    const auto weights = is_jet ? moe::ChoiceWeights::softmax_of_chosen() : moe::ChoiceWeights::renormalized();
    EXPECT_EQ(std::get<moe::TopK>(layer.gate()).weights, weights) << "qwen3_5_moe has no such setting";
  }
}

TEST(TransformersFamilies, StackedAsInputsAndOutputs) {
  for (const bool is_llama : {false, true}) {
    ModelFolder model;
    const std::string name = is_llama ? "language_model.model.layers.1" : "model.language_model.layers.1";
    const std::string block = name + (is_llama ? ".feed_forward." : ".mlp.");
    model.add(block + (is_llama ? "router.weight" : "gate.weight"), {E, D});
    const Numbers gate_up = model.add(block + "experts.gate_up_proj", {E, D, 2 * F});
    const Numbers down = model.add(block + "experts.down_proj", {E, F, D});
    for (const char* part : {"gate", "up", "down"})
      if (is_llama) model.add(block + "shared_expert." + part + "_proj.weight", {D, F});
    const auto checkpoint =
        model.open(std::string(R"({"text_config": {"num_local_experts": 3, "num_experts": 3, "num_experts_per_tok": 1,
        "hidden_size": 6, "moe_intermediate_size": 6, "intermediate_size": 6}, "model_type": ")") +
                   (is_llama ? "llama4" : "qwen3_vl_moe") + "\"}");
    const StoredLayer layer(checkpoint, name, moe::io::family_of(checkpoint));
    expect_numbers(layer, Part::gate, gate_up, [](Index e, Index i, Index j) { return (e * d + j) * 2 * f + i; });
    expect_numbers(layer, Part::up, gate_up, [](Index e, Index i, Index j) { return (e * d + j) * 2 * f + f + i; });
    expect_numbers(layer, Part::down, down, [](Index e, Index i, Index j) { return (e * f + j) * d + i; });
    EXPECT_EQ(layer.dispatching().weigh_input, is_llama);
    EXPECT_EQ(layer.shared_hidden(), is_llama ? 6 : 0);
  }
}

TEST(TransformersFamilies, ASharedExpertMayBeFusedToo) {
  ModelFolder model;
  const std::string layer = "model.layers.0";
  model.add(layer + ".block_sparse_moe.router.layer.weight", {E, D});
  model.add(layer + ".block_sparse_moe.input_linear.weight", {E, 2 * F, D});
  model.add(layer + ".block_sparse_moe.output_linear.weight", {E, D, F});
  const Numbers gate_up = model.add(layer + ".shared_mlp.input_linear.weight", {8, D});
  const Numbers down = model.add(layer + ".shared_mlp.output_linear.weight", {D, 4});
  const auto checkpoint = model.open(R"({"model_type": "granitemoeshared", "num_local_experts": 3, "hidden_size": 6,
      "num_experts_per_tok": 2, "intermediate_size": 6, "shared_intermediate_size": 4})");
  const StoredLayer stored(checkpoint, layer, moe::io::family_of(checkpoint));
  EXPECT_EQ(stored.shared_hidden(), 4);
  EXPECT_EQ(stored.weight(Part::shared_gate)->vector<float>()(3 * d + 2), gate_up[3 * D + 2]);
  EXPECT_EQ(stored.weight(Part::shared_up)->vector<float>()(3 * d + 2), gate_up[(4 + 3) * D + 2]);
  EXPECT_EQ(stored.weight(Part::shared_down)->vector<float>()(5 * 4 + 1), down[5 * 4 + 1]);
}

TEST(TransformersFamilies, DbrxKeepsDownTransposed) {
  ModelFolder model;
  const std::string block = "transformer.blocks.4.ffn.";
  model.add(block + "router.layer.weight", {E, D});
  const Numbers gate = model.add(block + "experts.mlp.w1", {E * F, D}),
                up = model.add(block + "experts.mlp.v1", {E * F, D});
  const Numbers down = model.add(block + "experts.mlp.w2", {E * F, D});
  const auto checkpoint = model.open(R"({"model_type": "dbrx", "d_model": 6, "ffn_config": {"moe_num_experts": 3,
      "moe_top_k": 2, "ffn_hidden_size": 6, "moe_normalize_expert_weights": 1}})");
  const StoredLayer layer(checkpoint, "transformer.blocks.4", moe::io::family_of(checkpoint));
  expect_numbers(layer, Part::gate, gate, [](Index e, Index i, Index j) { return (e * f + i) * d + j; });
  expect_numbers(layer, Part::up, up, [](Index e, Index i, Index j) { return (e * f + i) * d + j; });
  expect_numbers(layer, Part::down, down, [](Index e, Index i, Index j) { return (e * f + j) * d + i; });
}

/// Experts one by one.
struct Separate {
  std::string model_type, layer, block, router, bias = {}, shared = {}, config = {};
  std::vector<std::string> projections{"gate_proj", "up_proj", "down_proj"};
  std::uint64_t copying = 0;

  StoredLayer read() const {
    ModelFolder model;
    const std::string prefix = layer + "." + block;
    model.add(prefix + router, {4 + copying, D});
    if (!bias.empty()) model.add(prefix + bias, {4 + copying});
    const auto add = [&](const std::string& expert, std::uint64_t width) {
      for (const std::string& name : projections) {
        const bool is_down = name == projections.back();
        model.add(expert + name + ".weight", {is_down ? D : width, is_down ? width : D});
      }
    };
    for (int e = 0; e < 4; ++e) add(prefix + "experts." + std::to_string(e) + ".", 5);
    if (!shared.empty()) add(prefix + shared + ".", 5);
    if (model_type == "qwen3_next") model.add(prefix + "shared_expert_gate.weight", {1, D});
    const auto checkpoint = model.open(R"({"hidden_size": 6, "model_type": ")" + model_type + "\", " + config + "}");
    return StoredLayer(checkpoint, layer, moe::io::family_of(checkpoint));
  }
};

TEST(TransformersFamilies, ExpertsOneByOne) {
  const std::string layers = "model.layers.3", qwen = R"("num_experts": 4, "num_experts_per_tok": 2,
      "moe_intermediate_size": 5)",
                    deepseek = R"("n_routed_experts": 4, "num_experts_per_tok": 2,
      "moe_intermediate_size": 5, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 2.5)";
  const auto next = Separate{"qwen3_next", layers, "mlp.", "gate.weight", "", "shared_expert", qwen}.read();
  EXPECT_TRUE(next.has(Part::shared_mix));
  EXPECT_EQ(std::get<moe::TopK>(next.gate()).weights, moe::ChoiceWeights::renormalized());

  const auto glm =
      Separate{"glm4_moe", layers, "mlp.", "gate.weight", "gate.e_score_correction_bias", "shared_experts", deepseek}
          .read();
  const auto& glm_gate = std::get<moe::ScoredTopK>(glm.gate());
  EXPECT_EQ(glm_gate.scores, moe::Scores::sigmoid({.scale = 2.5}));
  EXPECT_EQ(glm_gate.selection_bias_E.size(), 4);

  const auto ernie = Separate{"ernie4_5_moe",
                              layers,
                              "mlp.",
                              "gate.weight",
                              "moe_statics.e_score_correction_bias",
                              "",
                              R"("moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 5)"}
                         .read();
  EXPECT_EQ(std::get<moe::ScoredTopK>(ernie.gate()).scores,
            moe::Scores::softmax({.epsilon = moe::Epsilon::floor(1e-12)}));

  const auto hunyuan = Separate{"hunyuan_v1_moe",
                                layers,
                                "mlp.",
                                "gate.wg.weight",
                                "",
                                "shared_mlp",
                                R"("num_experts": [4, 4, 4, 4], "moe_topk": [1, 1, 1, 3],
                                   "moe_intermediate_size": 5)"}
                           .read();
  EXPECT_EQ(std::get<moe::TopK>(hunyuan.gate()).k, 3) << "of a list the layer's";
  EXPECT_EQ(hunyuan.shared_hidden(), 5);

  const auto longcat = Separate{.model_type = "longcat_flash",
                                .layer = layers,
                                .block = "mlp.",
                                .router = "router.classifier.weight",
                                .bias = "router.e_score_correction_bias",
                                .config = R"("n_routed_experts": 4, "zero_expert_num": 2, "moe_topk": 2,
                                             "expert_ffn_hidden_size": 5, "routed_scaling_factor": 6)",
                                .copying = 2}
                           .read();
  EXPECT_EQ(longcat.experts(), 6);
  EXPECT_EQ(longcat.copying_experts(), 2);
  EXPECT_EQ(std::get<moe::ScoredTopK>(longcat.gate()).scores,
            moe::Scores::softmax({.normalize = false, .epsilon = 0, .scale = 6}));

  const auto nemotron = Separate{.model_type = "nemotron_h",
                                 .layer = "backbone.layers.3",
                                 .block = "mixer.",
                                 .router = "gate.weight",
                                 .bias = "gate.e_score_correction_bias",
                                 .shared = "shared_experts",
                                 .config = deepseek,
                                 .projections = {"up_proj", "down_proj"}}
                            .read();
  EXPECT_EQ(nemotron.form().activation, "relu2");
  EXPECT_FALSE(nemotron.has(Part::gate));

  const std::vector<std::string> w{"w1", "w3", "w2"};
  const std::string mixtral = R"("num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 5)";
  const auto phi = Separate{.model_type = "phimoe",
                            .layer = layers,
                            .block = "block_sparse_moe.",
                            .router = "gate.weight",
                            .config = mixtral + R"(, "router_jitter_noise": 0.02)",
                            .projections = w}
                       .read();
  EXPECT_EQ(std::get<moe::SparseMixer>(phi.gate()).band, 0.02);
  const auto minimax = Separate{.model_type = "minimax_m2",
                                .layer = layers,
                                .block = "block_sparse_moe.",
                                .router = "gate.weight",
                                .bias = "e_score_correction_bias",
                                .config = mixtral + R"(, "scoring_func": "sigmoid")",
                                .projections = w}
                           .read();
  EXPECT_EQ(std::get<moe::ScoredTopK>(minimax.gate()).scores.function(), moe::detail::ScoreFunction::sigmoid);
}

}  // namespace transformers_families_test
