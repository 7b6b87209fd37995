#include "moe/io/layer_tensors.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "moe/io/families.hpp"
#include "moe/moe.hpp"
#include "temporary_folder.hpp"

namespace layer_tensors_test {

using moe::detail::ContentOfLayer;
using moe::detail::LayerTensors;
using moe::io::NumberFormat;

/// Of 2 experts (3, 4), whose numbers are small integers: 100 part + 10 row + column, + 1000 for the second.
moe::Layer<moe::Router<float>, moe::TopK, moe::SwiGlu<float>> layer() {
  using Layer = moe::Layer<moe::Router<float>, moe::TopK, moe::SwiGlu<float>>;
  std::mt19937_64 rng(1);
  Layer layer{moe::Router<float>::random(2, 4, rng), moe::TopK{}, moe::make_experts<moe::SwiGlu<float>>(2, 4, 3, rng)};
  const auto numbers = [](moe::Index rows, moe::Index cols, float first) {
    return moe::Matrix<float>(moe::Matrix<float>::NullaryExpr(rows, cols, [=](moe::Index i, moe::Index j) {
      return first + 10 * static_cast<float>(i) + static_cast<float>(j);
    }));
  };
  for (std::size_t e = 0; e < 2; ++e) {
    const float first = e == 0 ? 0 : 1000;
    layer.experts[e].w1_FD = numbers(3, 4, first + 100);
    layer.experts[e].w3_FD = numbers(3, 4, first + 200);
    layer.experts[e].w2_DF = numbers(4, 3, first + 300);
  }
  return layer;
}

std::vector<moe::io::TensorSource> tensors(const std::string& family, NumberFormat format = NumberFormat::as_stored,
                                           bool is_gguf = false) {
  static const auto own = layer();
  return LayerTensors::of(std::make_shared<const LayerTensors>(ContentOfLayer<float>::of(own),
                                                               *moe::io::find_family(family, is_gguf), "model.layers.7",
                                                               nullptr, false, format));
}

std::vector<float> floats(const moe::io::TensorSource& tensor) {
  std::vector<std::byte> bytes;
  tensor.write([&](std::span<const std::byte> piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); });
  std::vector<float> values(bytes.size() / tensor.format.bytes * tensor.format.elements);
  moe::detail::decode_format("test", tensor.name, tensor.format, std::span<const std::byte>(bytes), values.data(),
                             moe::io::Precision::exact);
  return values;
}

TEST(LayerTensors, OneForEachExpert) {
  const auto all = tensors("mixtral");
  ASSERT_EQ(all.size(), 7u);
  EXPECT_EQ(all[0].name, "model.layers.7.block_sparse_moe.gate.weight");
  EXPECT_EQ(all[4].name, "model.layers.7.block_sparse_moe.experts.1.w3.weight");
  EXPECT_EQ(to_string(all[4]), "F32 [3, 4]");
  EXPECT_EQ(floats(all[4]),
            (std::vector<float>{1200, 1201, 1202, 1203, 1210, 1211, 1212, 1213, 1220, 1221, 1222, 1223}));
  EXPECT_EQ(to_string(tensors("mixtral", NumberFormat::bf16)[4]), "BF16 [3, 4]");
  EXPECT_EQ(to_string(tensors("mixtral", NumberFormat::bf16)[0]), "F32 [2, 4]");
}

TEST(LayerTensors, HalvesOfOneTensor) {
  const auto all = tensors("granitemoe");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(to_string(all[1]), "F32 [2, 6, 4]");
  const auto values = floats(all[1]);
  EXPECT_EQ(values[0], 100);
  EXPECT_EQ(values[3 * 4], 200);
  EXPECT_EQ(values[24 + 2 * 4 + 1], 1121);
  EXPECT_EQ(values[24 + 4 * 4 + 3], 1213);
}

TEST(LayerTensors, InputsFirst) {
  const auto all = tensors("qwen3_vl_moe");
  EXPECT_EQ(to_string(all[1]), "F32 [2, 4, 6]");
  const auto values = floats(all[1]);
  EXPECT_EQ(std::vector<float>(values.begin() + 6, values.begin() + 12),
            (std::vector<float>{101, 111, 121, 201, 211, 221}));
  EXPECT_EQ(to_string(all[2]), "F32 [2, 3, 4]");
  const auto rows = tensors("dbrx");
  EXPECT_EQ(to_string(rows[3]), "F32 [6, 4]");  // w2 transposed, one expert below the other
  EXPECT_EQ(floats(rows[3])[1], 310);
  EXPECT_EQ(floats(rows[3])[3 * 4], 1300);
}

TEST(LayerTensors, NamesOfGguf) {
  const auto all = tensors("qwen3moe", NumberFormat::f16, true);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[3].name, "model.layers.7.ffn_down_exps.weight");
  EXPECT_EQ(to_string(all[3]), "F16 [2, 4, 3]");
}

TEST(LayerTensors, WhatDoesNotFitIsNamed) {
  const auto error = [](auto&& f) { return message_of<moe::io::FileError>(f); };
  EXPECT_NE(error([] { tensors("nemotron_h"); }).find("has no place for a gate projection of the experts"),
            std::string::npos);
  EXPECT_NE(error([] { tensors("deepseek_v3"); }).find("it needs a selection bias, 'mlp.gate.e_score_correction_bias'"),
            std::string::npos);
  EXPECT_NE(error([] { tensors("mixtral", NumberFormat::q8_0); }).find("safetensors has no type Q8_0"),
            std::string::npos);
  static auto large = layer();
  large.experts[1].w2_DF(1, 2) = 1e6f;
  const auto all = LayerTensors::of(std::make_shared<const LayerTensors>(
      ContentOfLayer<float>::of(large), *moe::io::find_family("mixtral"), "x", nullptr, false, NumberFormat::f16));
  EXPECT_NE(
      error([&] { floats(all[6]); })
          .find("tensor 'x.block_sparse_moe.experts.1.w2.weight': number 5 of expert 1, counted from 0, or one of "
                "its block, is too large for F16"),
      std::string::npos);
}

}  // namespace layer_tensors_test
