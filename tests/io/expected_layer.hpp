// Layers of checkpoints with their results, which other programs computed: tests/io/data/<folder>.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "block_fixture.hpp"
#include "moe/io/any_layer.hpp"
#include "moe/io/read_layer.hpp"
#include "moe/io/safetensors_reader.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "temporary_folder.hpp"

/// Where a layer is, and what its results are called.
struct ExpectedLayer {
  std::string folder, layer, key;
  std::string model() const { return fixture(folder); }
  std::string results() const {
    return fixture(folder.ends_with(".gguf") ? folder.substr(0, folder.size() - 5) + ".expected.safetensors"
                                             : folder + "/expected.safetensors");
  }
};

/// All of them.
inline std::vector<ExpectedLayer> expected_layers() {
  std::vector<ExpectedLayer> all;
  for (const char* folder : {"gpt_oss_bf16", "gpt_oss_bf16_wide", "gpt_oss_mxfp4", "granitemoe", "granitemoe_wide",
                             "mixtral", "mixtral_sharded", "olmoe", "qwen2_moe", "qwen3_moe"})
    for (const char* n : {"0", "1"})
      all.push_back({folder, std::string("model.layers.") + n, std::string("layers.") + n + "."});
  for (const char* folder : {"deepseek_v2", "deepseek_v3", "deepseek_v3_fp8"})
    all.push_back({folder, "model.layers.1", "layers.1."});
  for (const char* folder : {"llama4", "llama4_wide"})
    all.push_back({folder, "language_model.model.layers.1", "layers.1."});
  for (const char* layer : {"encoder.block.1.layer.1", "decoder.block.1.layer.2"})
    all.push_back({"switch_transformers", layer, std::string(layer) + "."});
  for (const char* layer : {"model.encoder.layers.1", "model.decoder.layers.1"})
    all.push_back({"nllb_moe", layer, std::string(layer) + "."});
  for (const char* file : {"gpt_oss_mxfp4", "qwen3moe_q8_0"})
    for (const char* layer : {"blk.0", "blk.1"})
      all.push_back({"gguf_models/" + std::string(file) + ".gguf", layer, std::string(layer) + "."});
  return all;
}

/// max |a - b| / max(1, max |b|)
inline double distance(const auto& found, const auto& expected) {
  if (found.rows() != expected.rows() || found.cols() != expected.cols()) return 1e300;
  const auto difference = (found.template cast<double>() - expected.template cast<double>()).cwiseAbs().maxCoeff();
  return static_cast<double>(difference) / std::max(1.0, static_cast<double>(expected.cwiseAbs().maxCoeff()));
}

/// The gradients of the results as a checkpoint of the model's own layout, read as the layer is.
template <class L>
L expected_gradient(const ExpectedLayer& of, const moe::io::Safetensors& results,
                    const moe::io::Checkpoint& checkpoint) {
  const TemporaryFolder folder;
  std::filesystem::copy_file(of.model() + "/config.json", folder / "config.json");
  moe::io::SafetensorsWriter writer;
  const std::string prefix = of.key + "grad.";
  for (const std::string& name : results.names())
    if (name.starts_with(prefix + "model.") || name.starts_with(prefix + "language_model."))
      writer.add(name.substr(prefix.size()), moe::io::DType::F64, results.tensor(name).shape,
                 results.values<double>(name));
  const std::string bias = of.layer + ".mlp.gate.e_score_correction_bias";
  if (checkpoint.contains(bias)) writer.add(bias, moe::Vector<float>(checkpoint.stored(bias).matrix<float>()));
  writer.write(folder / "model.safetensors");
  return moe::io::read_layer<L>(moe::io::Checkpoint::open(folder.path()), of.layer,
                                {.precision = moe::io::Precision::rounded});
}

/// The layer of this scalar type has the results, and the gradients if there are some.
template <class S>
void expect_layer(const ExpectedLayer& of, double tolerance) {
  SCOPED_TRACE(of.folder + " " + of.layer);
  using L = moe::io::AnyLayer<S>;
  const auto checkpoint = moe::io::Checkpoint::open(of.model());
  const auto results = moe::io::Safetensors::open(of.results());
  const auto expected = [&](const std::string& name) { return results.matrix<double>(of.key + name); };
  const L layer = moe::io::read_layer<L>(checkpoint, of.layer);
  const moe::Matrix<S> x_TD = results.matrix<double>("x").cast<S>();
  typename L::Tape tape;
  const moe::Matrix<S> y_TD = layer.forward(x_TD, tape);

  EXPECT_LE(distance(tape.routing.logits_TE, expected("logits")), tolerance);
  EXPECT_LE(distance(y_TD, expected("y")), tolerance);
  const auto index_TK = results.matrix<std::int64_t>(of.key + "topk.index");
  const auto weight_TK = expected("topk.weight");
  moe::Matrix<double> combine_TE = moe::Matrix<double>::Zero(x_TD.rows(), tape.routing.experts());
  ASSERT_EQ(tape.plan.slots(), index_TK.size());
  for (moe::Index slot = 0; slot < tape.plan.slots(); ++slot) {
    const auto n = static_cast<std::size_t>(slot);
    const auto& choice = tape.routing.choices[static_cast<std::size_t>(tape.plan.choice[n])];
    EXPECT_EQ(choice.expert, index_TK(choice.token, choice.rank));
    EXPECT_NEAR(static_cast<double>(tape.plan.weight[n]), weight_TK(choice.token, choice.rank), 10 * tolerance);
    combine_TE(choice.token, choice.expert) = static_cast<double>(tape.plan.weight[n]);
  }
  EXPECT_LE(distance(combine_TE, expected("combine")), tolerance);

  if (!results.contains(of.key + "dy")) return;
  L gradient = moe::zeros_like(layer);
  const moe::Matrix<S> dx_TD = layer.backward(x_TD, moe::Matrix<S>(expected("dy").template cast<S>()), tape, gradient);
  EXPECT_LE(distance(dx_TD, expected("grad.x")), tolerance);
  const auto expected_parameters = moe::flatten(expected_gradient<L>(of, results, checkpoint));
  EXPECT_LE(distance(moe::flatten(gradient), expected_parameters), tolerance);
}
