// Weights of another library are read by a visitor with that library's names: the program of include/moe/io/README.md.
#include <gtest/gtest.h>

#include <cstddef>
#include <random>
#include <string>

#include "moe/io/safetensors.hpp"
#include "moe/moe.hpp"
#include "support/matrices.hpp"
#include "temporary_folder.hpp"

namespace foreign_names_test {

using moe::io::DType;

// As it stands in the document, which the last test compares.
/// A layer whose file is one of transformers' Mixtral: model.layers.<n>.block_sparse_moe...
struct AsMixtral {
  moe::Layer<moe::Router<float>, moe::TopK, moe::SwiGlu<float>>& layer;
  std::string prefix = "model.layers.0.block_sparse_moe.";

  template <class F, class Self>
  static void visit_parameters(F&& f, Self& self) {
    f(self.prefix + "gate.weight", self.layer.router.weight_ED);
    for (std::size_t e = 0; e < self.layer.experts.size(); ++e) {
      const std::string expert = self.prefix + "experts." + std::to_string(e);
      f(expert + ".w1.weight", self.layer.experts[e].w1_FD);
      f(expert + ".w2.weight", self.layer.experts[e].w2_DF);
      f(expert + ".w3.weight", self.layer.experts[e].w3_FD);
    }
  }
};

constexpr moe::Index experts = 3, width = 4, hidden = 5;

auto new_layer(std::uint64_t seed) {
  std::mt19937_64 rng{seed};
  return moe::Layer{moe::Router<float>::random(experts, width, rng), moe::TopK{.k = 2},
                    moe::make_experts<moe::SwiGlu<float>>(experts, width, hidden, rng)};
}

/// A file as transformers writes it: bfloat16, with tensors that are no part of the mixture.
void write_as_mixtral(const std::filesystem::path& path, const decltype(new_layer(1))& layer) {
  moe::io::SafetensorsWriter writer;
  const std::string prefix = "model.layers.0.block_sparse_moe.";
  const auto add = [&](const std::string& name, const moe::Matrix<float>& values) {
    writer.add(name, moe::Matrix<Eigen::bfloat16>(values.cast<Eigen::bfloat16>()));
  };
  add("model.layers.0.self_attn.q_proj.weight", moe::Matrix<float>::Ones(width, width));
  add(prefix + "gate.weight", layer.router.weight_ED);
  for (std::size_t e = 0; e < layer.experts.size(); ++e) {
    const std::string expert = prefix + "experts." + std::to_string(e);
    add(expert + ".w1.weight", layer.experts[e].w1_FD.matrix());
    add(expert + ".w2.weight", layer.experts[e].w2_DF.matrix());
    add(expert + ".w3.weight", layer.experts[e].w3_FD.matrix());
  }
  writer.write(path);
}

TEST(ForeignNames, AFileOfAnotherLibraryIsLoaded) {
  const TemporaryFolder folder;
  const auto saved = new_layer(1);
  auto mixtral = new_layer(2);
  write_as_mixtral(folder / "model", saved);
  AsMixtral foreign{mixtral};
  moe::io::load(folder / "model", foreign, {.ignore_extra = true});
  EXPECT_EQ(mixtral.router.weight_ED, saved.router.weight_ED.cast<Eigen::bfloat16>().cast<float>());
  EXPECT_EQ(mixtral.experts[2].w2_DF.matrix(),
            moe::Matrix<float>(saved.experts[2].w2_DF.matrix().cast<Eigen::bfloat16>().cast<float>()));
  const auto x = support::random_matrix<float>(8, width, 3);
  EXPECT_LT((mixtral.forward(x) - saved.forward(x)).cwiseAbs().maxCoeff(), 0.05f);  // bfloat16's digits
}

TEST(ForeignNames, ItIsSavedByTheSameVisitor) {
  const TemporaryFolder folder;
  auto saved = new_layer(1), loaded = new_layer(2);
  const AsMixtral from{saved};
  moe::io::save(folder / "model", from);
  AsMixtral to{loaded};
  moe::io::load(folder / "model", to);
  EXPECT_TRUE(support::same_parameters(saved, loaded));
}

TEST(ForeignNames, WhatIsMissingIsToldByItsForeignName) {
  const TemporaryFolder folder;
  auto layer = new_layer(1);
  write_as_mixtral(folder / "model", layer);
  AsMixtral second{layer, "model.layers.1.block_sparse_moe."};
  const std::string message =
      message_of<moe::io::FileError>([&] { moe::io::load(folder / "model", second, {.ignore_extra = true}); });
  EXPECT_NE(message.find("'model.layers.1.block_sparse_moe.gate.weight': missing"), std::string::npos) << message;
}

TEST(ForeignNames, TheDocumentHasThisVisitor) {
  const std::string document = read_file(std::string(MOE_SOURCE_DIR) + "/include/moe/io/README.md");
  const std::string source = read_file(std::string(MOE_SOURCE_DIR) + "/tests/io/foreign_names_test.cpp");
  const std::size_t begin = document.find("/// A layer whose file is one of");
  ASSERT_NE(begin, std::string::npos);
  const std::string block = document.substr(begin, document.find("```", begin) - begin);
  EXPECT_NE(source.find(block), std::string::npos) << block;
}

}  // namespace foreign_names_test
