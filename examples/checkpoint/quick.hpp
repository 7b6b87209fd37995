// A test of the program: a small checkpoint in a folder of its own, and every command on it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "moe/core/random.hpp"
#include "moe/expert/glu.hpp"
#include "moe/expert/make_experts.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/io/safetensors.hpp"
#include "moe/layer/layer.hpp"
#include "moe/router/router.hpp"
#include "support/temporary_folder.hpp"

namespace checkpoint {

using MixtralLayer = moe::Layer<moe::Router<float>, moe::TopK, moe::SwiGlu<float>>;

/// Layers by the names that transformers' Mixtral gives their weights.
struct AsMixtral {
  std::vector<MixtralLayer>& layers;

  template <class F, class Self>
  static void visit_parameters(F&& f, Self& self) {
    for (std::size_t n = 0; n < self.layers.size(); ++n) {
      const std::string block = "model.layers." + std::to_string(n) + ".block_sparse_moe.";
      auto& layer = self.layers[n];
      f(block + "gate.weight", layer.router.weight_ED);
      for (std::size_t e = 0; e < layer.experts.size(); ++e) {
        const std::string expert = block + "experts." + std::to_string(e);
        f(expert + ".w1.weight", layer.experts[e].w1_FD);
        f(expert + ".w2.weight", layer.experts[e].w2_DF);
        f(expert + ".w3.weight", layer.experts[e].w3_FD);
      }
    }
  }
};

/// Whether every command does what it is to do, told on `std::cout`. `run_command` takes the words after the program's
/// name and returns its exit code, or throws.
template <class F>
bool try_commands(const F& run_command) {
  constexpr moe::Index experts = 4, width = 16, hidden = 24, tokens = 40;
  const example::TemporaryFolder folder;
  const auto at = [&folder](const std::string& name) { return (folder / name).string(); };
  std::mt19937_64 rng{3};
  std::vector<MixtralLayer> layers;
  for (int n = 0; n < 2; ++n)
    layers.emplace_back(moe::Router<float>::random(experts, width, rng), moe::TopK{.k = 2},
                        moe::make_experts<moe::SwiGlu<float>>(experts, width, hidden, rng));
  const std::string model = at("model"), input = at("x.safetensors"), output = at("y.safetensors");
  std::filesystem::create_directory(model);
  std::ofstream(model + "/config.json") << R"({"model_type": "mixtral", "num_local_experts": 4,
    "num_experts_per_tok": 2, "hidden_size": 16, "intermediate_size": 24, "hidden_act": "silu"})";
  AsMixtral named{layers};
  moe::io::save(model + "/model.safetensors", named);
  const auto x_TD = moe::random_matrix<float>(tokens, width, rng);
  moe::io::SafetensorsWriter writer;
  writer.add("x", x_TD);
  writer.write(input);

  bool all_right = true;
  const auto expect = [&](bool fact, std::string_view claim) {
    if (!fact) std::cout << "NOT SO: " << claim << '\n';
    all_right = all_right && fact;
  };
  run_command({"show", model});
  run_command({"stats", model, "--layer", "1", "--input", input, "--picture", at("load.svg")});
  expect(std::filesystem::exists(at("load.svg")), "stats draws a picture");
  expect(run_command({"stats", model, "--layer", "1", "--input", input, "--picture", at("none/load.svg")}) == 0,
         "stats has a table where no picture can be written");
  for (const bool in_double : {false, true}) {
    std::vector<std::string> words{"run", model, "--layer", "1", "--input", input, "--output", output};
    if (in_double) words.push_back("--double");
    run_command(words);
    const auto y_TD = moe::io::Safetensors::open(output).matrix<double>("y");
    const moe::Matrix<float> expected_TD = layers[1].forward(x_TD);
    expect((y_TD - expected_TD.cast<double>()).cwiseAbs().maxCoeff() < 1e-5, "run computes what the layer computes");
  }
  run_command({"convert", model, at("qwen"), "--family", "qwen3_moe", "--shard-size", "8K"});
  run_command({"show", at("qwen")});
  expect(std::filesystem::exists(at("qwen/model.safetensors.index.json")), "convert writes shards");
  run_command({"run", at("qwen"), "--layer", "1", "--input", input, "--output", at("z.safetensors")});
  run_command({"run", model, "--layer", "1", "--input", input, "--output", output});
  const moe::io::Safetensors before = moe::io::Safetensors::open(output),
                             after = moe::io::Safetensors::open(at("z.safetensors"));
  expect(before.matrix<float>("y") == after.matrix<float>("y"), "a converted checkpoint computes the same bits");
  run_command({"prune", model, "--keep", "3", "--input", input, "--output", at("pruned"), "--dtype", "bf16"});
  run_command({"show", at("pruned")});
  run_command({"prune", "--experts", "0,1,3", model});
  run_command({"prune", model, "--keep", "3"});
  run_command({"show", at("model-pruned")});
  run_command({"convert", model, at("model.gguf"), "--family", "qwen3moe"});
  run_command({"merge", "--experts", "0,1", at("model.gguf")});
  run_command({"show", at("model-merged.gguf")});
  run_command({"merge", model, "--experts", "0,2", "--experts", "1,3", "--output", at("merged")});
  run_command({"show", at("merged")});
  run_command({"run", at("merged"), "--layer", "1", "--input", input, "--output", output});
  expect(moe::io::Safetensors::open(output).tensor("logits").shape[1] == 2, "four experts are merged into two");
  return all_right;
}

}  // namespace checkpoint
