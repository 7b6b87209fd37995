#include "moe/io/write_layer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>

#include "expected_layer.hpp"
#include "moe/io/families.hpp"
#include "moe/moe.hpp"

namespace write_layer_test {

using moe::io::Checkpoint;
using moe::io::CheckpointWriter;
using moe::io::FileError;
using moe::io::find_family;
using moe::io::write_layer;
using Qwen = moe::Layer<moe::Router<float>, moe::TopK, moe::SwiGlu<float>>;

Qwen random_layer(unsigned seed, moe::Index experts = 4) {
  std::mt19937_64 rng(seed);
  return {moe::Router<float>::random(experts, 6, rng), moe::TopK{.k = 2, .weights = moe::ChoiceWeights::renormalized()},
          moe::make_experts<moe::SwiGlu<float>>(experts, 6, 5, rng)};
}

TEST(WriteLayer, IsReadBackBitByBit) {
  const Qwen layers[] = {random_layer(1), random_layer(2)};
  for (const char* name : {"mixtral", "qwen3_moe", "qwen3_5_moe", "qwen3_vl_moe", "olmoe", "granitemoe", "dbrx",
                           "deepseek_v2", "hunyuan_v1_moe"}) {
    SCOPED_TRACE(name);
    const moe::io::Family& family = *find_family(name);
    const TemporaryFolder folder;
    CheckpointWriter writer;
    Qwen own[] = {layers[0], layers[1]};
    if (family.name == "deepseek_v2")
      for (Qwen& layer : own) layer.gate.weights = moe::ChoiceWeights::probabilities();
    for (int n : {0, 1})
      write_layer(writer, own[n], family, moe::detail::replaced(family.layers[0], "{n}", std::to_string(n)));
    writer.write_folder(folder / "model");
    const auto checkpoint = Checkpoint::open(folder / "model");
    EXPECT_EQ(&family_of(checkpoint), &family);
    for (int n : {0, 1}) {
      const auto layer = moe::io::read_layer<moe::io::AnyLayer<float>>(
          checkpoint, moe::detail::replaced(family.layers[0], "{n}", std::to_string(n)));
      const moe::Matrix<float> x_TD = moe::Matrix<float>::Random(9, 6);
      EXPECT_LE(distance(layer.forward(x_TD), own[n].forward(x_TD)), 1e-6);
      EXPECT_EQ(layer.layer.router.weight_ED, own[n].router.weight_ED);
    }
  }
}

TEST(WriteLayer, Gguf) {
  const Qwen layer = random_layer(1);
  const TemporaryFolder folder;
  CheckpointWriter writer;
  write_layer(writer, layer, *find_family("qwen3moe", true), "blk.0");
  writer.write_gguf(folder / "model.gguf");
  const auto checkpoint = Checkpoint::open(folder / "model.gguf");
  EXPECT_EQ(checkpoint.architecture(), "qwen3moe");
  EXPECT_EQ(checkpoint.configuration().require<moe::Index>("qwen3moe.expert_count"), 4);
  const auto back = moe::io::read_layer<Qwen>(checkpoint, "blk.0");
  for (std::size_t e = 0; e < 4; ++e) EXPECT_EQ(back.experts[e].w2_DF, layer.experts[e].w2_DF);
}

TEST(WriteLayer, LayersOfOneCheckpointShareSettings) {
  const Qwen a = random_layer(1), b = random_layer(2, 5);
  const TemporaryFolder folder;
  CheckpointWriter writer;
  write_layer(writer, a, *find_family("mixtral"), "model.layers.0");
  const std::string message =
      message_of<FileError>([&] { write_layer(writer, b, *find_family("mixtral"), "model.layers.1"); });
  EXPECT_NE(message.find("setting 'num_local_experts' would become 5, which earlier layers contradict"),
            std::string::npos)
      << message;
  writer.write_folder(folder / "model");
  EXPECT_EQ(family_of(Checkpoint::open(folder / "model")).name, "mixtral");
}

/// Settings that are no layer's, NaN among them, and the caller's own checks are no contradiction.
TEST(WriteLayer, OnlySettingsOfEarlierLayersCount) {
  const Qwen a = random_layer(1), b = random_layer(2);
  CheckpointWriter writer;
  writer.add_check([](const Checkpoint&) {});
  writer.configuration = {{"model_type", "mixtral"}, {"num_local_experts", 9}};
  write_layer(writer, a, *find_family("mixtral"), "model.layers.0");
  EXPECT_EQ(writer.configuration["num_local_experts"], 4);
  writer.configuration["of_another"] = std::nan("");
  write_layer(writer, b, *find_family("mixtral"), "model.layers.1");
  CheckpointWriter listed;  // the second layer changes its entry
  listed.configuration = {{"model_type", "hunyuan_v1_moe"}, {"moe_topk", {1, 1}}, {"of_another", std::nan("")}};
  write_layer(listed, a, *find_family("hunyuan_v1_moe"), "model.layers.0");
  write_layer(listed, b, *find_family("hunyuan_v1_moe"), "model.layers.1");
  EXPECT_EQ(listed.configuration["moe_topk"], (nlohmann::json{2, 2}));
}

TEST(WriteLayer, NothingStaysOfALayerThatIsRefused) {
  const Qwen layer = random_layer(1);
  CheckpointWriter writer;
  writer.add({"model.layers.0.block_sparse_moe.experts.1.w3.weight",
              moe::io::format_of(moe::io::DType::F32),
              {1},
              [](const moe::io::ByteSink&) {}});
  const std::string message =
      message_of<FileError>([&] { write_layer(writer, layer, *find_family("mixtral"), "model.layers.0"); });
  EXPECT_NE(message.find("is given twice"), std::string::npos) << message;
  EXPECT_EQ(writer.tensors().size(), 1u);
  EXPECT_TRUE(writer.configuration.empty());
  EXPECT_FALSE(writer.has_layers());
}

TEST(WriteLayer, WhatDoesNotFitIsSaidInWords) {
  CheckpointWriter writer;
  const auto error = [&](const auto& layer, const char* family) {
    return message_of<FileError>([&] { write_layer(writer, layer, *find_family(family), "model.layers.0"); });
  };
  EXPECT_NE(error(random_layer(1), "phimoe")
                .find("layer 'model.layers.0' does not fit into the family 'phimoe': its "
                      "settings cannot say the scores of experts of the layer's gate"),
            std::string::npos);
  std::mt19937_64 rng(4);
  const moe::Shared shared{random_layer(1), moe::SwiGlu<float>::random(6, 10, rng)};
  EXPECT_NE(error(shared, "mixtral").find("has no place for a gate projection of a shared expert"), std::string::npos);
  EXPECT_NE(error(shared, "qwen2_moe").find("it needs a gate of a shared expert"), std::string::npos);
  EXPECT_TRUE(writer.tensors().empty());
  EXPECT_TRUE(writer.configuration.empty());
}

}  // namespace write_layer_test
