#include "moe/io/layer_content.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>

#include "block_fixture.hpp"
#include "moe/io/families.hpp"
#include "moe/moe.hpp"
#include "temporary_folder.hpp"

namespace layer_content_test {

using moe::detail::ContentOfLayer;
using moe::detail::LayerContent;
using moe::io::FileError;
using moe::io::Part;

std::shared_ptr<const moe::io::StoredLayer> stored(const std::string& folder, const std::string& layer) {
  const auto checkpoint = moe::io::Checkpoint::open(fixture(folder));
  return std::make_shared<const moe::io::StoredLayer>(checkpoint, layer, moe::io::family_of(checkpoint));
}

/// A layer in memory says of itself what its file says.
TEST(LayerContent, IsThatOfTheFile) {
  for (const char* folder : {"gpt_oss_bf16", "qwen2_moe", "deepseek_v3"}) {
    SCOPED_TRACE(folder);
    const auto file = stored(folder, "model.layers.1");
    const auto layer = moe::io::read_layer<moe::io::AnyLayer<float>>(*file);
    const LayerContent a = ContentOfLayer<float>::of(layer), b = moe::detail::content_of(file);
    EXPECT_EQ(a.experts, b.experts);
    EXPECT_EQ(a.width, b.width);
    EXPECT_EQ(a.hidden, b.hidden);
    EXPECT_EQ(a.shared_hidden, b.shared_hidden);
    EXPECT_EQ(a.form.activation, b.form.activation);
    EXPECT_EQ(a.form.clamp.limit, b.form.clamp.limit);
    EXPECT_EQ(a.parts, b.parts);
    for (int p = 0; p < moe::io::number_of_parts; ++p) {
      const auto part = static_cast<Part>(p);
      for (moe::Index e = 0; a.has(part) && e < a.count(part); ++e)
        EXPECT_EQ(a.numbers(part, e), b.numbers(part, e)) << p;
    }
  }
}

TEST(LayerContent, OfStatedTypes) {
  std::mt19937_64 rng(1);
  moe::Layer layer{moe::Router<double>::random(3, 4, rng), moe::TopK{},
                   moe::make_experts<moe::Mlp<double, moe::SquaredRelu>>(3, 4, 5, rng)};
  const LayerContent content = ContentOfLayer<double>::of(layer);
  EXPECT_EQ(content.scalar, moe::io::DType::F64);
  EXPECT_EQ(content.form.activation, "relu2");
  EXPECT_FALSE(content.has(Part::gate));
  EXPECT_EQ(content.numbers(Part::up, 2), layer.experts[2].w1_FD.matrix());
  EXPECT_EQ(content.numbers(Part::router, 0), layer.router.weight_ED);
}

TEST(LayerContent, WhatNoFamilyHasIsSaidInWords) {
  std::mt19937_64 rng(1);
  const auto router = moe::Router<float>::random(2, 4, rng);
  const auto experts = moe::make_experts<moe::SwiGlu<float>>(2, 4, 5, rng);
  const auto expect = [](const auto& layer, const std::string& part) {
    const std::string message = message_of<FileError>([&] { ContentOfLayer<float>::of(layer); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  moe::Layer layer{router, moe::TopK{}, experts};
  layer.experts[1] = moe::SwiGlu<float>::random(4, 6, rng);
  expect(layer, "its experts are of several forms or sizes");
  layer.experts = experts;
  layer.experts[1].b2_D.setZero(4);
  expect(layer, "its experts are of several forms or sizes");
  layer.experts = experts;
  layer.experts[0].multiplier_F.setOnes(5);
  expect(layer, "no family has multipliers");
  expect(moe::Layer{router, moe::TopP{}, experts}, "no family has its gate");
  moe::Shared constant{moe::Layer{router, moe::TopK{}, experts}, moe::ConstantExpert<float>::random(4, rng)};
  expect(constant, "no family mixes a constant with the input");
  constant.expert.mix = {};
  EXPECT_TRUE(ContentOfLayer<float>::of(constant).has(Part::output_bias));
  using Any = moe::io::AnyExpert<float>;
  expect(moe::Layer{router, moe::TopK{},
                    std::vector<Any>{moe::IdentityExpert<float>{}, moe::ClampedSwiGlu<float>::random(4, 5, rng)}},
         "experts that return their input must be the last ones");
  expect(moe::Layer{router, moe::TopK{}, std::vector<moe::IdentityExpert<float>>(2)}, "no expert computes anything");
}

}  // namespace layer_content_test
