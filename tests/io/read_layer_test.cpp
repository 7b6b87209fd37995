#include "moe/io/read_layer.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "expected_layer.hpp"
#include "moe/moe.hpp"

namespace read_layer_test {

using moe::io::Checkpoint;
using moe::io::FileError;
using moe::io::read_layer;

TEST(ReadLayer, AnyLayerInDoubleHasTheResults) {
  for (const ExpectedLayer& layer : expected_layers()) expect_layer<double>(layer, 1e-10);
}

TEST(ReadLayer, AnyLayerInFloatHasTheResults) {
  for (const ExpectedLayer& layer : expected_layers()) expect_layer<float>(layer, 2e-5);
}

using Plain = moe::Layer<moe::Router<float>, moe::TopK, moe::SwiGlu<float>>;
using Scored = moe::Layer<moe::Router<float>, moe::ScoredTopK, moe::SwiGlu<float>>;
using WithShared = moe::Shared<Plain, moe::SwiGlu<float>>;
using WithMix = moe::Shared<Plain, moe::SwiGlu<float>, moe::SigmoidMix<float>>;

template <class L>
std::string error(const std::string& folder, const std::string& layer = "model.layers.1") {
  return message_of<FileError>([&] { read_layer<L>(Checkpoint::open(fixture(folder)), layer); });
}

TEST(ReadLayer, ALayerOfAStatedTypeIsTheSame) {
  const auto checkpoint = Checkpoint::open(fixture("mixtral"));
  const auto layer = read_layer<Plain>(checkpoint, "model.layers.1");
  EXPECT_EQ(layer.gate.k, 2);
  EXPECT_EQ(layer.experts.size(), 4u);
  const std::string experts = "model.layers.1.block_sparse_moe.experts.";
  EXPECT_EQ(layer.experts[3].w3_FD.matrix(), checkpoint.stored(experts + "3.w3.weight").matrix<float>());
  const auto results = moe::io::Safetensors::open(fixture("mixtral/expected.safetensors"));
  const moe::Matrix<float> x_TD = results.matrix<double>("x").cast<float>();
  EXPECT_LE(distance(layer.forward(x_TD), results.matrix<double>("layers.1.y")), 2e-5);
  EXPECT_EQ(layer.forward(x_TD), read_layer<Plain>(checkpoint, "model.layers.1", {}, moe::Serial{}).forward(x_TD));
}

TEST(ReadLayer, TypesOfSharedExperts) {
  EXPECT_EQ((error<moe::Shared<Scored, moe::SwiGlu<float>>>("deepseek_v3")), "");
  EXPECT_EQ(error<WithMix>("qwen2_moe"), "");
  EXPECT_EQ((error<moe::Layer<moe::Router<float>, moe::TopK, moe::ClampedSwiGlu<float>>>("gpt_oss_bf16")), "");
}

TEST(ReadLayer, WhatDoesNotFitIsSaidInWords) {
  const auto expect = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
  };
  expect(error<Plain>("deepseek_v3"), "its gate is a ScoredTopK, which the type of the layer cannot be");
  expect(error<Scored>("deepseek_v3"),
         "no place for 'model.layers.1.mlp.shared_experts.gate_proj.weight'; a moe::Shared has");
  expect(error<WithShared>("qwen2_moe"), "no place for 'model.layers.1.mlp.shared_expert_gate.weight'");
  expect(error<WithShared>("qwen3_moe"), "beside its experts it has no expert, which the type of the shared one");
  expect(error<moe::Shared<Scored, moe::SwiGlu<float>, moe::SigmoidMix<float>>>("deepseek_v3"),
         "has no gate of a shared expert, for which a SigmoidMix stands");
  expect(error<Plain>("gpt_oss_bf16"), "expert 0 is a gated unit of 'silu' and a clamp, which the type");
  expect(error<Plain>("switch_transformers", "encoder.block.1.layer.1"), "two projections with 'relu'");
  expect(error<moe::Layer<moe::Router<float>, moe::TopK, moe::Mlp<float>>>("nllb_moe", "model.encoder.layers.1"),
         "outputs are multiplied by 0.8");
  expect(error<Plain>("mixtral", "model.layers.7"), "no tensor 'model.layers.7.block_sparse_moe.gate.weight'");
}

}  // namespace read_layer_test
