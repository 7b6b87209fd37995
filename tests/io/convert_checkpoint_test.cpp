#include "moe/io/convert_checkpoint.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "expected_layer.hpp"
#include "model_folder.hpp"
#include "moe/moe.hpp"
#include "temporary_folder.hpp"

namespace convert_checkpoint_test {

using moe::io::AnyLayer;
using moe::io::Checkpoint;
using moe::io::convert;
using moe::io::family_of;
using moe::io::FileError;
using moe::io::find_family;
using moe::io::NumberFormat;

/// All folders and files of data.
std::vector<std::string> models() {
  std::vector<std::string> all;
  for (const ExpectedLayer& layer : expected_layers())
    if (std::ranges::count(all, layer.folder) == 0) all.push_back(layer.folder);
  return all;
}

std::string bytes_of(const Checkpoint& checkpoint, const std::string& name) {
  const auto bytes = checkpoint.bytes(name);
  return {reinterpret_cast<const char*>(bytes.bytes().data()), bytes.size()};
}

void expect_same_tensors(const Checkpoint& found, const Checkpoint& expected) {
  EXPECT_EQ(found.names().size(), expected.names().size());
  for (const std::string& name : expected.names()) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_EQ(to_string(found.tensor(name)), to_string(expected.tensor(name))) << name;
    EXPECT_EQ(bytes_of(found, name), bytes_of(expected, name)) << name;
  }
}

/// A layer gives the same logits, choices and outputs.
void expect_same_layer(const Checkpoint& found, const std::string& found_name, const Checkpoint& expected,
                       const std::string& name, double tolerance = 1e-10) {
  using L = AnyLayer<double>;
  const L a = moe::io::read_layer<L>(found, found_name), b = moe::io::read_layer<L>(expected, name);
  std::mt19937_64 rng(3);
  const auto x_TD = moe::random_matrix<double>(20, b.width(), rng, 1.0);
  L::Tape tape_a, tape_b;
  const moe::Matrix<double> y_TD = b.forward(x_TD, tape_b);
  EXPECT_LE(distance(a.forward(x_TD, tape_a), y_TD), tolerance) << found_name;
  EXPECT_LE(distance(tape_a.routing.logits_TE, tape_b.routing.logits_TE), tolerance) << found_name;
  ASSERT_EQ(tape_a.routing.choices.size(), tape_b.routing.choices.size());
  for (std::size_t i = 0; i < tape_a.routing.choices.size(); ++i) {
    EXPECT_EQ(tape_a.routing.choices[i].expert, tape_b.routing.choices[i].expert);
    EXPECT_NEAR(tape_a.routing.choices[i].weight, tape_b.routing.choices[i].weight, tolerance);
  }
}

struct Converted {
  TemporaryFolder folder;
  template <class S = float>
  Checkpoint operator()(const Checkpoint& from, const moe::io::Family& to,
                        const moe::io::ConvertOptions<S>& options = {}) {
    const auto path = folder / (to.is_gguf ? "model.gguf" : "model");
    convert<S>(from, path, to, options);
    return Checkpoint::open(path);
  }
};

TEST(ConvertCheckpoint, TheSameFamilyGivesTheSameBytes) {
  for (const std::string& model : models()) {
    SCOPED_TRACE(model);
    const auto from = Checkpoint::open(fixture(model));
    Converted converted;
    const auto copy = converted(from, family_of(from));
    expect_same_tensors(copy, from);
    EXPECT_EQ(copy.configuration().values(), from.configuration().values());
  }
}

TEST(ConvertCheckpoint, LayersThatWereReadAndAreTheSameGiveTheSameBytes) {
  for (const std::string& model : models()) {
    SCOPED_TRACE(model);
    const auto from = Checkpoint::open(fixture(model));
    Converted converted;
    int calls = 0;
    const auto copy =
        converted(from, family_of(from), {.change = [&](AnyLayer<float>&, const std::string&) { ++calls; }});
    EXPECT_GT(calls, 0);
    expect_same_tensors(copy, from);
    EXPECT_EQ(copy.configuration().values(), from.configuration().values());
  }
}

/// From one family into another and back: the same routing and outputs, in the end the same bytes.
TEST(ConvertCheckpoint, AnotherFamilyComputesTheSame) {
  struct Case {
    std::string model, family, layer = "model.layers.1", its_layer = layer;
  };
  for (const Case& c :
       std::vector<Case>{{"mixtral", "qwen3_moe"},
                         {"mixtral", "granitemoe"},
                         {"mixtral", "qwen3_vl_moe", "model.layers.1", "model.language_model.layers.1"},
                         {"mixtral", "dbrx", "model.layers.1", "transformer.blocks.1"},
                         {"granitemoe", "mixtral"},
                         {"granitemoe_wide", "qwen3_5_moe", "model.layers.1", "model.language_model.layers.1"},
                         {"olmoe", "qwen3_moe"},
                         {"deepseek_v3", "glm4_moe"},
                         {"qwen2_moe", "qwen3_next"}}) {
    SCOPED_TRACE(c.model + " as " + c.family);
    const auto from = Checkpoint::open(fixture(c.model));
    Converted there, back;
    const auto other = there(from, *find_family(c.family));
    EXPECT_EQ(other.architecture(), find_family(c.family)->architectures[0]);
    EXPECT_EQ(other.names().size() > 0, true);
    expect_same_layer(other, c.its_layer, from, c.layer);
    const auto again = back(other, family_of(from));
    expect_same_tensors(again, from);
    expect_same_layer(again, c.layer, from, c.layer, 0);
    EXPECT_EQ(again.configuration().get<moe::Index>("num_attention_heads"),
              from.configuration().get<moe::Index>("num_attention_heads"));
  }
}

/// In GGUF other tensors have names that the caller knows.
TEST(ConvertCheckpoint, GgufAndBack) {
  const auto parts_alone = [](const std::string&) { return std::string(); };
  for (const auto& [model, its_family] :
       std::vector<std::pair<std::string, std::string>>{{"mixtral", "qwen3moe"},
                                                        {"olmoe", "olmoe"},
                                                        {"qwen3_moe", "qwen3moe"},
                                                        {"qwen2_moe", "qwen2moe"},
                                                        {"gpt_oss_bf16", "gpt-oss"},
                                                        {"gpt_oss_bf16_wide", "gpt-oss"}}) {
    SCOPED_TRACE(model);
    const std::string family = its_family;
    const auto from = Checkpoint::open(fixture(model));
    const std::string refusal = message_of<FileError>([&] { Converted()(from, *find_family(family, true)); });
    EXPECT_NE(refusal.find("set ConvertOptions::rename"), std::string::npos) << refusal;
    Converted there, back;
    const auto gguf = there(from, *find_family(family, true), {.rename = parts_alone});
    EXPECT_TRUE(gguf.is_gguf());
    EXPECT_EQ(gguf.architecture(), family);
    expect_same_layer(gguf, "blk.1", from, "model.layers.1");
    const auto again = back(gguf, family_of(from), {.rename = parts_alone});
    expect_same_layer(again, "model.layers.1", from, "model.layers.1");
    const moe::io::StoredLayer layer(from, "model.layers.1", family_of(from));
    for (const std::string& name : layer.used()) EXPECT_TRUE(again.contains(name)) << name;
  }
}

TEST(ConvertCheckpoint, RenamedTensorsStay) {
  const auto from = Checkpoint::open(fixture("mixtral"));
  Converted converted;
  const auto gguf = converted(
      from, *find_family("llama", true), {.rename = [](const std::string& name) {
        return name == "model.layers.0.input_layernorm.weight" ? std::string("blk.0.attn_norm.weight") : std::string();
      }});
  EXPECT_EQ(bytes_of(gguf, "blk.0.attn_norm.weight"), bytes_of(from, "model.layers.0.input_layernorm.weight"));
  EXPECT_EQ(gguf.names().size(), 2u * 4 + 1);
}

/// What can be read exactly is written exactly in a wider format.
TEST(ConvertCheckpoint, QuantisedWeightsAsFloats) {
  for (const auto& [model, layer] :
       std::vector<std::pair<std::string, std::string>>{{"deepseek_v3_fp8", "model.layers.1"},
                                                        {"gpt_oss_mxfp4", "model.layers.0"},
                                                        {"gguf_models/gpt_oss_mxfp4.gguf", "blk.1"},
                                                        {"gguf_models/qwen3moe_q8_0.gguf", "blk.0"}}) {
    SCOPED_TRACE(model);
    const auto from = Checkpoint::open(fixture(model));
    Converted converted;
    const auto wide = converted(from, family_of(from), {.format = NumberFormat::f32});
    expect_same_layer(wide, layer, from, layer, 0);
    // The fp8 model's other tensors stay as they are.
    EXPECT_EQ(wide.configuration().find("quantization_config") != nullptr, model == "deepseek_v3_fp8");
  }
}

TEST(ConvertCheckpoint, FromAQuantisedGgufFile) {
  const auto from = Checkpoint::open(fixture("gguf_models/qwen3moe_q8_0.gguf"));
  const auto parts_alone = [](const std::string&) { return std::string(); };
  const std::string refusal =
      message_of<FileError>([&] { Converted()(from, *find_family("qwen3_moe"), {.rename = parts_alone}); });
  EXPECT_NE(refusal.find("stored as Q8_0, which cannot be written there; state a format"), std::string::npos)
      << refusal;
  Converted converted, back;
  const auto wide = converted(from, *find_family("qwen3_moe"), {.format = NumberFormat::f32, .rename = parts_alone});
  expect_same_layer(wide, "model.layers.0", from, "blk.0");
  const auto again = back(wide, *find_family("qwen3moe", true), {.format = NumberFormat::q8_0, .rename = parts_alone});
  for (const std::string& name : again.names())
    if (again.tensor(name).format.name == "Q8_0") {
      EXPECT_EQ(bytes_of(again, name), bytes_of(from, name)) << name;
    }
}

TEST(ConvertCheckpoint, WhatAFamilyCannotHoldIsNamed) {
  const auto expect = [](const std::string& model, const std::string& family, const std::string& part,
                         bool is_gguf = false) {
    const auto from = Checkpoint::open(fixture(model));
    Converted converted;
    const std::string message = message_of<FileError>([&] {
      converted(from, *find_family(family, is_gguf), {.rename = [](const std::string&) { return std::string(); }});
    });
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(converted.folder.files(), 0);
  };
  expect("qwen2_moe", "mixtral", "no place for a gate projection of a shared expert");
  expect("deepseek_v3", "qwen2_moe", "no place for a selection bias");
  expect("gpt_oss_bf16", "mixtral", "no place for a bias of the router");
  expect("mixtral", "switch_transformers", "no place for a gate projection of the experts");
  expect("switch_transformers", "nemotron_h", "it needs a selection bias");
  expect("olmoe", "mixtral", "whether weights are divided by their sum");
  expect("mixtral", "llama4", "setting 'intermediate_size' says 0, the layer has 12");
  expect("deepseek_v2", "deepseek2", "the score of a group of experts", true);
  expect("mixtral", "phimoe", "the scores of experts");
}

TEST(ConvertCheckpoint, Shards) {
  const auto from = Checkpoint::open(fixture("mixtral_sharded"));
  for (const std::uint64_t size : {1u, 1000u, 5000u, 1u << 30}) {
    Converted converted;
    const auto copy = converted(from, family_of(from), {.shard_size = size});
    expect_same_tensors(copy, from);
    EXPECT_EQ(copy.configuration().values(), from.configuration().values());
    EXPECT_TRUE(std::filesystem::exists(converted.folder / "model/model.safetensors.index.json"));
  }
}

/// Experts that are taken out or moved keep their bytes, in whatever format.
TEST(ConvertCheckpoint, PrunedExpertsKeepTheirBytes) {
  struct Case {
    std::string model, setting, layer;
  };
  for (const Case& c : std::vector<Case>{{"mixtral", "num_local_experts", "model.layers.1"},
                                         {"deepseek_v2", "n_routed_experts", "model.layers.1"},
                                         {"gpt_oss_bf16", "num_local_experts", "model.layers.1"},
                                         {"gpt_oss_mxfp4", "num_local_experts", "model.layers.1"},
                                         {"gguf_models/qwen3moe_q8_0.gguf", "qwen3moe.expert_count", "blk.1"},
                                         {"gguf_models/gpt_oss_mxfp4.gguf", "gpt-oss.expert_count", "blk.1"}}) {
    SCOPED_TRACE(c.model);
    const auto from = Checkpoint::open(fixture(c.model));
    const auto without_first_half = [](AnyLayer<float>& layer, const std::string&) {
      auto& own = layer.layer;
      const moe::Index E = own.router.experts(), left = E / 2;
      own.experts.erase(own.experts.begin(), own.experts.begin() + static_cast<std::ptrdiff_t>(E - left));
      own.router.weight_ED = moe::Matrix<float>(own.router.weight_ED.bottomRows(left));
      if (own.router.bias_E.size() > 0) own.router.bias_E = moe::Vector<float>(own.router.bias_E.tail(left));
      if (auto* const gate = std::get_if<moe::ScoredTopK>(&own.gate.gate)) gate->groups = gate->groups_used = 1;
    };
    Converted converted;
    const auto pruned = converted(from, family_of(from), {.change = without_first_half});
    const auto before = moe::io::read_layer<AnyLayer<double>>(from, c.layer);
    const auto after = moe::io::read_layer<AnyLayer<double>>(pruned, c.layer);
    const std::size_t left = after.layer.experts.size(), gone = before.layer.experts.size() - left;
    EXPECT_EQ(pruned.configuration().require<std::size_t>(c.setting), left);
    const moe::Matrix<double> x_TD = moe::Matrix<double>::Random(5, before.width());
    for (std::size_t e = 0; e < left; ++e) {
      moe::Matrix<double> a_TD(5, before.width()), b_TD(5, before.width());
      typename moe::io::AnyExpert<double>::Tape tape;
      after.layer.experts[e].forward(x_TD, a_TD, tape);
      before.layer.experts[e + gone].forward(x_TD, b_TD, tape);
      EXPECT_EQ(a_TD, b_TD);
    }
    const moe::io::StoredLayer a(pruned, c.layer, family_of(pruned)), b(from, c.layer, family_of(from));
    for (const moe::io::Part part : {moe::io::Part::up, moe::io::Part::down})
      EXPECT_EQ(a.weight(part)->tensor->format(), b.weight(part)->tensor->format());
  }
}

/// A copy of a fixture's file or folder, of which `change` sees the bytes of each tensor.
template <class Change>
Checkpoint patched(const TemporaryFolder& folder, const std::string& model, Change change) {
  const bool is_file = model.ends_with(".gguf");
  std::filesystem::copy(fixture(model), folder / "from", std::filesystem::copy_options::recursive);
  const auto path = folder / (is_file ? "from" : "from/model.safetensors");
  std::string bytes = read_file(path);
  const auto original = Checkpoint::open(folder / "from");
  for (const std::string& name : original.names()) {
    const std::string own = bytes_of(original, name);
    change(name, original.tensor(name).format.name,
           bytes.data() + static_cast<std::ptrdiff_t>(original.tensor(name).begin), own.size());
  }
  std::filesystem::remove(path);
  write_file(path, bytes);
  return Checkpoint::open(folder / "from");
}

/// Scales of 24 bits: the numbers that a layer in float has are rounded.
TEST(ConvertCheckpoint, PrunedExpertsKeepTheirBytesWhereFloatRounds) {
  const TemporaryFolder folder;
  const auto from = patched(
      folder, "deepseek_v3_fp8",
      [rng = std::mt19937(5)](const std::string& name, auto, char* bytes, std::size_t size) mutable {
        if (!name.ends_with("_scale_inv")) return;
        for (std::size_t i = 0; i < size; i += sizeof(float)) {
          const float scale = std::bit_cast<float>(0x3c000001u + 2 * (static_cast<std::uint32_t>(rng()) & 0xfffffu));
          std::memcpy(bytes + i, &scale, sizeof scale);
        }
      });
  Converted whole, pruned;
  const auto keep = [](AnyLayer<float>&, const std::string&) {};
  expect_same_tensors(whole(from, family_of(from), {.change = keep}), from);
  const auto half = [](AnyLayer<float>& layer, const std::string&) {
    auto& own = layer.layer;
    const moe::Index E = own.router.experts(), left = E / 2;
    own.experts.erase(own.experts.begin(), own.experts.begin() + static_cast<std::ptrdiff_t>(E - left));
    own.router.weight_ED = moe::Matrix<float>(own.router.weight_ED.bottomRows(left));
    auto& gate = std::get<moe::ScoredTopK>(own.gate.gate);
    gate.groups = gate.groups_used = 1;
    gate.selection_bias_E = moe::Vector<double>(gate.selection_bias_E.tail(left));
  };
  const auto after = pruned(from, family_of(from), {.change = half});
  const moe::io::StoredLayer a(after, "model.layers.1", family_of(after)), b(from, "model.layers.1", family_of(from));
  for (const moe::io::Part part : {moe::io::Part::gate, moe::io::Part::up, moe::io::Part::down})
    for (moe::Index e = 0; e < a.experts(); ++e)
      for (std::size_t file = 0; file < 2; ++file)
        EXPECT_EQ(bytes_of(after, a.weight(part, e)->tensor->parts()[file]),
                  bytes_of(from, b.weight(part, e + b.experts() - a.experts())->tensor->parts()[file]));
}

/// Blocks that another encoder made, whose largest code is not 127.
TEST(ConvertCheckpoint, UnchangedBlocksKeepTheirBytes) {
  const TemporaryFolder folder;
  const auto from = patched(folder, "gguf_models/qwen3moe_q8_0.gguf",
                            [](const std::string&, std::string_view format, char* bytes, std::size_t size) {
                              for (std::size_t i = 0; format == "Q8_0" && i < size; ++i)
                                if (i % 34 >= 2) bytes[i] = static_cast<char>(bytes[i] / 2);
                            });
  Converted same, changed;
  expect_same_tensors(same(from, family_of(from), {.change = [](AnyLayer<float>&, const std::string&) {}}), from);
  const auto after = changed(from, family_of(from), {.change = [](AnyLayer<float>& layer, const std::string& name) {
                               if (name == "blk.1") std::get<0>(layer.layer.experts[1].expert).w2_DF(0, 0) += 1.0f;
                             }});
  for (const std::string& name : from.names()) {
    const std::string old = bytes_of(from, name), now = bytes_of(after, name);
    ASSERT_EQ(old.size(), now.size());
    if (name != "blk.1.ffn_down_exps.weight") {
      EXPECT_EQ(old, now) << name;
      continue;
    }
    const auto experts = static_cast<std::size_t>(from.tensor(name).shape[0]), each = old.size() / experts;
    for (std::size_t e = 0; e < experts; ++e)
      EXPECT_EQ(old.substr(e * each, each) == now.substr(e * each, each), e != 1) << e;
  }
}

/// Of an object only the old family's settings go.
TEST(ConvertCheckpoint, SettingsOfTheOldFamilyAreTakenOut) {
  const auto copied = [](const nlohmann::json& values, const std::string& source, const std::string& to) {
    moe::detail::CheckpointFiles files;
    files.configuration = {"config.json", values};
    moe::io::CheckpointWriter writer;
    moe::detail::copy_settings(writer, Checkpoint("model", std::move(files)), *find_family(source), *find_family(to));
    return writer.configuration;
  };
  using nlohmann::json;
  EXPECT_EQ(copied({{"model_type", "dbrx"},
                    {"architectures", {"X"}},
                    {"vocab_size", 7},
                    {"ffn_config", {{"moe_top_k", 2}, {"ffn_hidden_size", 3}, {"moe_jitter_eps", 0.5}}}},
                   "dbrx", "mixtral"),
            (json{{"model_type", "dbrx"}, {"vocab_size", 7}, {"ffn_config", {{"moe_jitter_eps", 0.5}}}}));
  EXPECT_EQ(
      copied({{"model_type", "qwen3_5_moe"},
              {"text_config",
               {{"model_type", "qwen3_5_moe_text"},
                {"num_experts", 8},
                {"num_experts_per_tok", 2},
                {"num_attention_heads", 4}}}},
             "qwen3_5_moe", "mixtral"),
      (json{{"model_type", "qwen3_5_moe"},
            {"text_config", {{"model_type", "mixtral"}, {"num_experts_per_tok", 2}, {"num_attention_heads", 4}}}}));
  EXPECT_EQ(copied({{"model_type", "qwen3_moe"}, {"text_config", 3}}, "qwen3_moe", "mixtral"),
            (json{{"model_type", "qwen3_moe"}, {"text_config", 3}}));
}

TEST(ConvertCheckpoint, ChangedNumbersNeedAFormatThatCanBeWritten) {
  const auto from = Checkpoint::open(fixture("gpt_oss_mxfp4"));
  const auto change = [](AnyLayer<float>& layer, const std::string& name) {
    if (name != "model.layers.1") return;
    std::get<0>(layer.layer.experts[1].expert).w2_DF(0, 0) += 0.03125f;
  };
  Converted refused, converted;
  const std::string message = message_of<FileError>([&] { refused(from, family_of(from), {.change = change}); });
  EXPECT_NE(message.find("numbers of expert 1 are not among those stored as MXFP4 in pairs"), std::string::npos)
      << message;
  EXPECT_EQ(refused.folder.files(), 0);
  const auto changed = converted(from, family_of(from), {.format = NumberFormat::f32, .change = change});
  const auto before = moe::io::read_layer<AnyLayer<float>>(from, "model.layers.1");
  const auto after = moe::io::read_layer<AnyLayer<float>>(changed, "model.layers.1");
  EXPECT_EQ(std::get<0>(after.layer.experts[1].expert).w2_DF(0, 0),
            std::get<0>(before.layer.experts[1].expert).w2_DF(0, 0) + 0.03125f);
  expect_same_layer(changed, "model.layers.0", from, "model.layers.0", 0);
}

TEST(ConvertCheckpoint, LayersThatNoLongerAgreeAreRefused) {
  const auto from = Checkpoint::open(fixture("mixtral"));
  Converted converted;
  const std::string message = message_of<FileError>([&] {
    converted(from, family_of(from), {.change = [](AnyLayer<float>& layer, const std::string& name) {
                if (name != "model.layers.1") return;
                layer.layer.experts.pop_back();
                layer.layer.router.weight_ED = moe::Matrix<float>(layer.layer.router.weight_ED.topRows(3));
              }});
  });
  EXPECT_NE(message.find("'num_local_experts' would become 3"), std::string::npos) << message;
  EXPECT_EQ(converted.folder.files(), 0);
}

TEST(ConvertCheckpoint, InDouble) {
  const auto from = Checkpoint::open(fixture("olmoe"));
  Converted wide, back;
  const auto in_double = wide(from, family_of(from), {.format = NumberFormat::f64});
  const auto change = [](AnyLayer<double>&, const std::string&) {};
  const auto again =
      back.operator()<double>(in_double, family_of(from), {.format = NumberFormat::f32, .change = change});
  expect_same_tensors(again, from);
}

TEST(ConvertCheckpoint, IntoItsOwnFolder) {
  const auto from = Checkpoint::open(fixture("olmoe"));
  const TemporaryFolder folder;
  convert(from, folder.path(), family_of(from));
  const auto own = Checkpoint::open(folder.path());
  convert(own, folder.path(), family_of(from), {.format = NumberFormat::bf16});
  EXPECT_EQ(folder.files(), 2);
  EXPECT_EQ(Checkpoint::open(folder.path()).tensor("model.layers.0.mlp.experts.0.up_proj.weight").format.name, "BF16");
}

TEST(ConvertCheckpoint, NoLayersAndMissingShardsAreErrors) {
  ModelFolder model;
  model.add("model.layers.0.input_layernorm.weight", {2, 2});
  const auto dense = model.open(R"({"model_type": "mixtral"})");
  Converted converted;
  EXPECT_NE(message_of<FileError>([&] { converted(dense, family_of(dense)); }).find("no layer of the family 'mixtral'"),
            std::string::npos);
  const TemporaryFolder folder;
  std::filesystem::copy(fixture("mixtral_sharded"), folder / "model");
  std::filesystem::remove(folder / "model/model-00002-of-00003.safetensors");
  const auto incomplete = Checkpoint::open(folder / "model");
  EXPECT_NE(message_of<FileError>([&] {
              converted(incomplete, family_of(incomplete));
            }).find("'model-00002-of-00003.safetensors' is missing"),
            std::string::npos);
  EXPECT_EQ(converted.folder.files(), 0);
}

/// A family that is the caller's own.
TEST(ConvertCheckpoint, AFamilyOfOnesOwn) {
  moe::io::Family mine = *find_family("qwen3_moe");
  mine.name = "mine";
  mine.architectures.clear();
  for (moe::io::Slot& slot : mine.slots)
    if (slot.part == moe::io::Part::router) slot.tensor = "mlp.router.weight";
  const auto from = Checkpoint::open(fixture("mixtral"));
  Converted there, back;
  const auto own = there(from, mine);
  EXPECT_EQ(own.architecture(), "mine");
  EXPECT_TRUE(own.contains("model.layers.1.mlp.router.weight"));
  EXPECT_THROW(back(own, family_of(from)), FileError);
  expect_same_tensors(back(own, family_of(from), {.family = &mine}), from);
}

}  // namespace convert_checkpoint_test
