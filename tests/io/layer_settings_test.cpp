#include "moe/io/layer_settings.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>

#include "moe/io/families.hpp"
#include "moe/moe.hpp"
#include "temporary_folder.hpp"

namespace layer_settings_test {

using moe::detail::LayerContent;
using nlohmann::json;

struct Model {
  json values = json::object();
  std::optional<moe::io::Checkpoint> checkpoint = {};

  moe::io::Settings read(const moe::io::Family& family) {
    moe::detail::CheckpointFiles files;
    files.configuration = {"config", values};
    checkpoint.emplace("model", std::move(files));
    return {*checkpoint, family, "model.layers.1"};
  }
  /// Writes and reads back.
  std::string difference(const LayerContent& content, const std::string& name) {
    const moe::io::Family& family = *moe::io::find_family(name);
    moe::detail::write_settings(content, family, values, [&] { return read(family); });
    return moe::detail::settings_difference(content, family, read(family));
  }
};

LayerContent content() {
  std::mt19937_64 rng(1);
  static const moe::Layer layer{moe::Router<float>::random(4, 4, rng),
                                moe::TopK{.k = 2, .weights = moe::ChoiceWeights::renormalized()},
                                moe::make_experts<moe::SwiGlu<float>>(4, 4, 3, rng)};
  return moe::detail::ContentOfLayer<float>::of(layer);
}

TEST(LayerSettings, AreWrittenByTheNamesOfTheFamily) {
  Model model;
  EXPECT_EQ(model.difference(content(), "qwen3_moe"), "");
  EXPECT_EQ(model.values, (json{{"num_experts", 4},
                                {"num_experts_per_tok", 2},
                                {"moe_intermediate_size", 3},
                                {"hidden_size", 4},
                                {"norm_topk_prob", true}}));
  Model nested{{{"text_config", {{"num_experts", 9}}}}};
  EXPECT_EQ(nested.difference(content(), "qwen3_moe"), "");
  EXPECT_EQ(nested.values["text_config"]["num_experts"], 4);
  EXPECT_EQ(nested.values["text_config"]["hidden_size"], 4);
  EXPECT_EQ(nested.values.size(), 1u);
  Model dotted;
  EXPECT_EQ(dotted.difference(content(), "dbrx"), "");
  EXPECT_EQ(dotted.values["ffn_config"], (json{{"moe_top_k", 2}, {"ffn_hidden_size", 3}}));  // E = 4: the fallback
}

TEST(LayerSettings, WhatIsSaidStays) {
  Model model{{{"num_experts", 4}, {"num_experts_per_tok", 2}, {"hidden_act", "swish"}, {"norm_topk_prob", true}}};
  EXPECT_EQ(model.difference(content(), "qwen3_moe"), "");
  EXPECT_EQ(model.values.size(), 6u);
}

/// A stated dropout of 0.2 is that of a scale of 0.8, although 1 - 0.8 is another number.
TEST(LayerSettings, ARoundedDropoutStays) {
  const moe::io::Family& family = *moe::io::find_family("nllb_moe");
  LayerContent scaled = content();
  scaled.output_scale = 1 - 0.2;
  Model model{{{"moe_token_dropout", 0.2}}};
  moe::detail::write_settings(scaled, family, model.values, [&] { return model.read(family); });
  EXPECT_EQ(model.values["moe_token_dropout"], 0.2);
  scaled.output_scale = 0.75;
  moe::detail::write_settings(scaled, family, model.values, [&] { return model.read(family); });
  EXPECT_EQ(model.values["moe_token_dropout"], 0.25);
}

TEST(LayerSettings, WhatShouldBeAnObjectAndIsNoneIsAnError) {
  Model text{{{"text_config", 3}}}, list{{{"text_config", {1, 2}}}}, ffn{{{"ffn_config", "none"}}};
  const auto error = [](Model& model, const char* family) {
    return message_of<moe::io::FileError>([&] { model.difference(content(), family); });
  };
  for (Model* model : {&text, &list})
    EXPECT_NE(error(*model, "qwen3_moe").find("setting 'text_config.num_experts' cannot be written"),
              std::string::npos);
  EXPECT_NE(error(ffn, "dbrx").find("setting 'ffn_config.moe_top_k' cannot be written"), std::string::npos);
}

TEST(LayerSettings, AreTakenOutByTheirPath) {
  json values{{"a.b", 1}, {"a", {{"b", 2}, {"c", 3}}}, {"d", 4}};
  for (const char* name : {"a.b", "d", "d.e", "a.c.x", "x.y"}) moe::detail::erase_setting(values, name);
  EXPECT_EQ(values, (json{{"a", {{"c", 3}}}}));
}

TEST(LayerSettings, EntriesOfLists) {
  Model model{{{"moe_topk", {1, 1, 1}}, {"num_experts", 4}}};
  EXPECT_EQ(model.difference(content(), "hunyuan_v1_moe"), "");
  EXPECT_EQ(model.values["moe_topk"], (json{1, 2, 1}));
}

TEST(LayerSettings, WhatAFamilyCannotSayIsNamed) {
  const auto with = [](auto change, const std::string& family) {
    LayerContent changed = content();
    change(changed);
    return Model{}.difference(changed, family);
  };
  const auto nothing = [](LayerContent&) {};
  EXPECT_EQ(with(nothing, "mixtral"), "");
  EXPECT_EQ(with(nothing, "granitemoe"), "");
  EXPECT_EQ(with(nothing, "phimoe"), "its settings cannot say the scores of experts of the layer's gate");
  EXPECT_EQ(with(nothing, "gpt_oss"), "its settings cannot say the clamp of its activation");
  EXPECT_EQ(
      with([](LayerContent& c) { c.gate = moe::TopK{.weights = moe::ChoiceWeights::probabilities()}; }, "mixtral"),
      "its settings cannot say whether weights are divided by their sum of the layer's gate");
  EXPECT_EQ(with([](LayerContent& c) { c.form.activation = "gelu"; }, "mixtral"), "");
  EXPECT_EQ(with([](LayerContent& c) { c.form.activation = "relu"; }, "gpt_oss"),
            "the activation 'relu', it has 'silu'");
  EXPECT_EQ(with([](LayerContent& c) { c.dispatching.weigh_input = true; }, "mixtral"),
            "its settings cannot say whether weights multiply the input");
  EXPECT_EQ(with([](LayerContent& c) { c.dispatching.capacity = moe::Capacity::exactly(3); }, "mixtral"),
            "its settings cannot say the capacity, exactly 3 slots");
  EXPECT_EQ(with([](LayerContent& c) { c.dispatching.non_finite = moe::NonFinite::zero_row; }, "mixtral"),
            "its settings cannot say what becomes of tokens whose logits are not finite");
  EXPECT_EQ(with([](LayerContent& c) { c.dispatching.straight_through = true; }, "mixtral"), "");
  EXPECT_EQ(with([](LayerContent& c) { c.dispatching.renormalize_floor = 0.5; }, "mixtral"), "");  // of no effect
  moe::io::Family divides = *moe::io::find_family("mixtral");
  divides.dispatching = [](const moe::io::Settings&) {
    moe::DispatchOptions options;
    options.renormalize_kept = true;
    return options;
  };
  LayerContent divided = content();
  divided.dispatching.renormalize_kept = true;
  Model model;
  moe::detail::write_settings(divided, divides, model.values, [&] { return model.read(divides); });
  EXPECT_EQ(moe::detail::settings_difference(divided, divides, model.read(divides)), "");
  divided.dispatching.renormalize_floor = 0.5;
  EXPECT_EQ(moe::detail::settings_difference(divided, divides, model.read(divides)),
            "its settings cannot say what becomes of dropped choices");
  EXPECT_EQ(with([](LayerContent& c) { c.output_scale = 0.5; }, "mixtral"),
            "its settings cannot say the scale of outputs");
  EXPECT_EQ(with([](LayerContent& c) { c.copying = 1; }, "mixtral"), "experts that return their input");
  EXPECT_EQ(with([](LayerContent& c) { c.shared_hidden = 4; }, "deepseek_v2"),
            "a shared expert of width 4, not a multiple of 3");
}

}  // namespace layer_settings_test
