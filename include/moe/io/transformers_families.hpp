// The families of Hugging Face's transformers, one entry each: the names in the files and in config.json. In files of
// its version 5 experts lie one by one, as before it; the tensors of all experts that it makes in memory are known too.
#pragma once

#include <string>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/io/family.hpp"
#include "moe/io/family_gates.hpp"
#include "moe/io/family_slots.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// Those of one ancestor together.
inline std::vector<Family> transformers_families() {
  using namespace moe::detail;
  std::vector<Family> all;
  all.push_back(mixtral_like("mixtral", {}, always_divided(), top_k_gate));
  all.back().architectures.push_back("minimax");
  all.push_back(mixtral_like("minimax_m2", selection_bias("block_sparse_moe.e_score_correction_bias", true),
                             {{Key::scores, {"scoring_func"}}, {Key::normalize, {}, true}}, deepseek_v3_gate));
  all.push_back(mixtral_like("phimoe", {}, {{Key::band, {"router_jitter_noise"}, 0.01}}, sparse_mixer_gate));

  all.push_back(qwen_like("qwen2_moe", true, false));
  all.push_back(qwen_like("qwen3_moe", false, false));
  all.push_back(qwen_like("qwen3_next", true, true));
  all.push_back(qwen_like("olmoe", false, false));
  all.back().architectures.push_back("flex_olmo");
  all.back().settings = joined_lists(settings_of("num_experts", "num_experts_per_tok", "intermediate_size"),
                                     {{Key::normalize, {"norm_topk_prob"}, false}});

  all.push_back(qwen_like("qwen3_5_moe", true, true));
  all.back().architectures.push_back("qwen3_5_moe_text");
  all.back().layers = {"model.language_model.layers.{n}", "model.layers.{n}"};
  for (Setting& setting : all.back().settings)
    if (setting.key == Key::normalize) setting.names.clear();

  all.push_back(qwen_like("qwen3_vl_moe", false, true));
  all.back().layers = {"model.language_model.layers.{n}", "model.layers.{n}"};
  all.back().slots = joined_lists(
      router("mlp.gate"), fused_experts("mlp.experts.gate_up_proj", "mlp.experts.down_proj", Order::inputs_first));

  all.push_back(deepseek_like("deepseek_v2", "", deepseek_v2_gate));
  all.push_back(deepseek_like("deepseek_v3", "mlp.gate.e_score_correction_bias", deepseek_v3_gate));
  for (const char* other : {"deepseek_v32", "kimi_k2", "glm_moe_dsa", "glm4_moe_lite"})
    all.back().architectures.push_back(other);
  all.push_back(deepseek_like("glm4_moe", "mlp.gate.e_score_correction_bias", deepseek_v3_gate));
  all.back().architectures.push_back("dots1");

  all.push_back({.name = "gpt_oss",
                 .architectures = {"gpt_oss"},
                 .layers = {"model.layers.{n}"},
                 .scope = {"mlp."},
                 .settings = joined_lists(mixtral_settings(), {{Key::limit, {"swiglu_limit"}, 7.0}}),
                 .gate = softmax_of_chosen_gate,
                 .form = gpt_oss_form});
  const std::string gate_up = "mlp.experts.gate_up_proj", down = "mlp.experts.down_proj";
  Slots packed = fused_experts(gate_up, down, Order::outputs_first, Outputs::even, Outputs::odd);
  for (Slot& slot : packed) slot.marker = "_blocks";
  all.back().slots =
      joined_lists(joined_lists(packed, fused_experts(gate_up, down, Order::inputs_first, Outputs::even, Outputs::odd)),
                   {{Part::router, "mlp.router.weight"},
                    {Part::router_bias, "mlp.router.bias"},
                    {Part::gate_bias, gate_up + "_bias", Outputs::even},
                    {Part::up_bias, gate_up + "_bias", Outputs::odd},
                    {Part::down_bias, down + "_bias"}});

  all.push_back(
      {.name = "llama4",
       .architectures = {"llama4", "llama4_text"},
       .layers = {"language_model.model.layers.{n}", "model.layers.{n}"},
       .scope = {"feed_forward."},
       .slots = joined_lists(joined_lists(router("feed_forward.router"),
                                          fused_experts("feed_forward.experts.gate_up_proj",
                                                        "feed_forward.experts.down_proj", Order::inputs_first)),
                             shared_expert("feed_forward.shared_expert")),
       .settings = joined_lists(mixtral_settings(), {{Key::shared_hidden, {"intermediate_size"}}}),
       .gate = sigmoid_gate,
       .dispatching = weigh_input});

  all.push_back({.name = "granitemoe",
                 .architectures = {"granitemoe"},
                 .layers = {"model.layers.{n}"},
                 .scope = {"block_sparse_moe."},
                 .slots = joined_lists(router("block_sparse_moe.router.layer"),
                                       fused_experts("block_sparse_moe.input_linear.weight",
                                                     "block_sparse_moe.output_linear.weight", Order::outputs_first)),
                 .settings = mixtral_settings(),
                 .gate = softmax_of_chosen_gate});

  all.push_back(Family(all.back()));  // with an expert that sees every token
  all.back().name = "granitemoeshared";
  all.back().architectures = {"granitemoeshared", "granitemoehybrid"};
  all.back().scope.push_back("shared_mlp.");
  const std::string shared_in = "shared_mlp.input_linear.weight", shared_out = "shared_mlp.output_linear.weight";
  all.back().slots =
      joined_lists(all.back().slots,
                   {{.part = Part::shared_gate, .tensor = shared_in, .outputs = Outputs::first_half, .optional = true},
                    {.part = Part::shared_up, .tensor = shared_in, .outputs = Outputs::second_half, .optional = true},
                    {.part = Part::shared_down, .tensor = shared_out, .optional = true}});
  all.back().settings.push_back({Key::shared_hidden, {"shared_intermediate_size"}});

  all.push_back({.name = "jetmoe",
                 .architectures = {"jetmoe"},
                 .layers = {"model.layers.{n}"},
                 .scope = {"mlp."},
                 .slots = joined_lists(joined_lists(router("mlp.router.layer"),
                                                    fused_experts("mlp.input_linear.weight", "mlp.output_linear.weight",
                                                                  Order::outputs_first)),
                                       {{Part::output_bias, "mlp.bias"}}),
                 .settings = {{Key::experts, {"num_local_experts"}},
                              {Key::choices, {"num_experts_per_tok"}},
                              {Key::hidden, {"intermediate_size", "ffn_hidden_size"}},
                              {Key::width, {"hidden_size"}},
                              {Key::activation, {"activation_function"}, "silu"}},
                 .gate = softmax_of_chosen_gate});

  all.push_back(
      {.name = "dbrx",
       .architectures = {"dbrx"},
       .layers = {"transformer.blocks.{n}"},
       .scope = {"ffn."},
       .slots = {{Part::router, "ffn.router.layer.weight"},
                 {.part = Part::gate, .tensor = "ffn.experts.mlp.w1", .rank = 2},
                 {.part = Part::up, .tensor = "ffn.experts.mlp.v1", .rank = 2},
                 {.part = Part::down, .tensor = "ffn.experts.mlp.w2", .order = Order::inputs_first, .rank = 2}},
       .settings = {{Key::experts, {"ffn_config.moe_num_experts"}, 4.0},
                    {Key::choices, {"ffn_config.moe_top_k"}, 1.0},
                    {Key::hidden, {"ffn_config.ffn_hidden_size"}},
                    {Key::width, {"d_model"}},
                    {Key::activation, {"ffn_config.ffn_act_fn.name"}, "silu"},
                    {Key::norm, {"ffn_config.moe_normalize_expert_weights"}, 1.0}},
       .gate = normed_gate});

  all.push_back({.name = "switch_transformers",
                 .architectures = {"switch_transformers"},
                 .layers = {"encoder.block.{n}.layer.1", "decoder.block.{n}.layer.2"},
                 .scope = {"mlp."},
                 .slots = relu_experts("mlp.", "wi", "wo", false),
                 .settings = {{Key::experts, {"num_experts"}},
                              {Key::choices, {}, 1.0},
                              {Key::width, {"d_model"}},
                              {Key::hidden, {"d_ff"}},
                              {Key::activation, {"dense_act_fn"}, "relu"},
                              {Key::capacity, {"expert_capacity"}}},
                 .gate = top_k_gate,
                 .dispatching = with_capacity});

  all.push_back({.name = "nllb_moe",
                 .architectures = {"nllb-moe", "nllb_moe"},
                 .layers = {"model.encoder.layers.{n}", "model.decoder.layers.{n}"},
                 .scope = {"ffn."},
                 .slots = relu_experts("ffn.", "fc1", "fc2", true),
                 .settings = {{Key::experts, {"num_experts"}},
                              {Key::choices, {}, 2.0},
                              {Key::width, {"d_model"}},
                              {Key::activation, {"activation_function"}, "relu"},
                              {Key::method, {"second_expert_policy"}, "all"},
                              {Key::normalize, {"normalize_router_prob_before_dropping"}, false},
                              {Key::capacity, {"expert_capacity"}},
                              {Key::inference_capacity, {"moe_eval_capacity_token_fraction"}, 1.0},
                              {Key::output_dropout, {"moe_token_dropout"}, 0.2}},
                 .gate = nllb_gate,
                 .dispatching = nllb_dispatching});

  all.push_back(mlp_like(
      "ernie4_5_moe",
      joined_lists(joined_lists(router("mlp.gate"), shared_expert("mlp.shared_experts")),
                   selection_bias("mlp.moe_statics.e_score_correction_bias")),
      joined_lists(settings_of("moe_num_experts", "moe_k", "moe_intermediate_size"),
                   {{Key::shared_experts, {"moe_num_shared_experts"}}, {Key::least_sum, {"moe_norm_min"}, 1e-12}}),
      softmax_scores_gate));
  for (Slot& slot : all.back().slots)
    if (slot.part == Part::selection_bias) slot.rank = 2;
  all.push_back(mlp_like(
      "hunyuan_v1_moe", joined_lists(router("mlp.gate.wg"), shared_expert("mlp.shared_mlp")),
      joined_lists(settings_of("num_experts", "moe_topk", "moe_intermediate_size"), always_divided()), top_k_gate));
  // F is not stated: transformers takes it from another setting than the models' own code does.
  std::erase_if(all.back().settings, [](const Setting& setting) { return setting.key == Key::hidden; });
  all.push_back(
      mlp_like("longcat_flash",
               joined_lists(router("mlp.router.classifier"), selection_bias("mlp.router.e_score_correction_bias")),
               joined_lists(settings_of("n_routed_experts", "moe_topk", "expert_ffn_hidden_size"),
                            {{Key::copying_experts, {"zero_expert_num"}, 0.0},
                             {Key::normalize, {}, false},
                             {Key::scale, {"routed_scaling_factor"}, 1.0}}),
               softmax_scores_gate));
  all.back().ignored = {"mlp.router.classifier.bias"};  // which transformers never adds

  const std::string expert = "mixer.experts.{e}.", shared = "mixer.shared_experts.";
  all.push_back(
      {.name = "nemotron_h",
       .architectures = {"nemotron_h"},
       .layers = {"backbone.layers.{n}"},
       .scope = {"mixer."},
       .slots = joined_lists(joined_lists(router("mixer.gate"), selection_bias("mixer.gate.e_score_correction_bias")),
                             {{Part::up, expert + "up_proj.weight"},
                              {Part::down, expert + "down_proj.weight"},
                              {.part = Part::shared_up, .tensor = shared + "up_proj.weight", .optional = true},
                              {.part = Part::shared_down, .tensor = shared + "down_proj.weight", .optional = true}}),
       .settings = joined_lists(deepseek_settings(), {{Key::shared_hidden, {"moe_shared_expert_intermediate_size"}}}),
       .gate = deepseek_v3_gate});
  std::erase_if(all.back().settings, [](const Setting& setting) {
    return setting.key == Key::activation || setting.key == Key::shared_experts;
  });
  all.back().settings.push_back({Key::activation, {"mlp_hidden_act"}, "relu2"});
  return all;
}

}  // namespace io

MOE_NAMESPACE_END
