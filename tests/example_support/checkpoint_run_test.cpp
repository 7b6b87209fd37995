#include "checkpoint/run.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "checkpoint/show.hpp"
#include "io/expected_layer.hpp"
#include "io/temporary_folder.hpp"
#include "moe/io/safetensors.hpp"

namespace checkpoint_run_test {

using checkpoint::Model;
using moe::io::Safetensors;

/// What `checkpoint run` writes, read back, against what another program computed.
template <class S>
void expect_results(const ExpectedLayer& of, double tolerance) {
  SCOPED_TRACE(of.folder + " " + of.layer);
  const TemporaryFolder folder;
  const Model model = checkpoint::open_model(of.model());
  const std::filesystem::path output = folder / "y.safetensors";
  if constexpr (std::is_same_v<S, double>)
    checkpoint::save(checkpoint::run_layer_in_double(model, of.layer, of.results()), output);
  else
    checkpoint::save(checkpoint::run_layer(model, of.layer, of.results()), output);
  const auto found = Safetensors::open(output), expected = Safetensors::open(of.results());
  EXPECT_EQ(found.names().size(), 5u);
  for (const char* const name : {"y", "logits", "topk.weight", "combine"}) {
    EXPECT_EQ(found.tensor(name).dtype, (moe::io::dtype_of<S>()));
    EXPECT_EQ(found.tensor(name).shape, expected.tensor(of.key + name).shape);
    EXPECT_LE(distance(found.matrix<double>(name), expected.matrix<double>(of.key + name)), tolerance) << name;
  }
  EXPECT_EQ(found.tensor("topk.index").dtype, moe::io::DType::I64);
  EXPECT_EQ(found.matrix<std::int64_t>("topk.index"), expected.matrix<std::int64_t>(of.key + "topk.index"));
}

TEST(CheckpointRun, HasTheResultsOfEveryFamilyInDouble) {
  for (const ExpectedLayer& of : expected_layers()) expect_results<double>(of, 1e-10);
}

TEST(CheckpointRun, HasThemInFloat) {
  for (const ExpectedLayer& of : expected_layers()) expect_results<float>(of, 2e-5);
}

TEST(CheckpointRun, SpreadsTokensAsItRoutesThem) {
  for (const ExpectedLayer& of : expected_layers()) {
    SCOPED_TRACE(of.folder + " " + of.layer);
    const auto spread = checkpoint::spread_of_layer(checkpoint::open_model(of.model()), of.layer, of.results());
    const auto index_TK = Safetensors::open(of.results()).matrix<std::int64_t>(of.key + "topk.index");
    for (std::size_t e = 0; e < spread.load.chosen.size(); ++e)
      EXPECT_EQ(spread.load.chosen[e], (index_TK.array() == static_cast<std::int64_t>(e)).count());
    EXPECT_EQ(spread.count_PE.sum(), static_cast<double>(index_TK.size()));
    EXPECT_EQ(spread.count_PE.rows(), index_TK.rows());  // fewer than 16 tokens
  }
}

/// A file of some tokens, and what else is added.
std::filesystem::path tokens_of(const TemporaryFolder& folder, moe::Index rows, moe::Index cols,
                                const std::vector<std::int64_t>& ids = {}, const char* name = "ids") {
  moe::io::SafetensorsWriter writer;
  writer.add("x", moe::Matrix<double>::Ones(rows, cols));
  if (!ids.empty()) writer.add(name, moe::io::DType::I64, {ids.size()}, ids);
  writer.write(folder / "x.safetensors");
  return folder / "x.safetensors";
}

template <class F>
std::string complaint(const F& f) {
  return message_of<std::invalid_argument>(f);
}

TEST(CheckpointRun, TakesIdsAndNoTokens) {
  const Model model = checkpoint::open_model(fixture("mixtral"));
  const TemporaryFolder folder;
  EXPECT_EQ(checkpoint::run_layer(model, "model.layers.0", tokens_of(folder, 2, 16, {7, 8})).y_TD.rows(), 2);
  const auto none = checkpoint::run_layer(model, "model.layers.0", tokens_of(folder, 0, 16));
  EXPECT_EQ(none.y_TD.rows(), 0);
  EXPECT_EQ(none.combine_TE.cols(), 4);
  EXPECT_EQ(checkpoint::spread_of_layer(model, "model.layers.0", tokens_of(folder, 0, 16)).count_PE.sum(), 0);
}

TEST(CheckpointRun, SpreadsByLabel) {
  const Model model = checkpoint::open_model(fixture("mixtral"));
  const TemporaryFolder folder;
  const auto spread =
      checkpoint::spread_of_layer(model, "model.layers.0", tokens_of(folder, 3, 16, {2, 0, 2}, "label"));
  EXPECT_TRUE(spread.by_label);
  ASSERT_EQ(spread.count_PE.rows(), 3);
  EXPECT_EQ(spread.count_PE.row(0).sum(), 2);
  EXPECT_EQ(spread.count_PE.row(1).sum(), 0);
  EXPECT_EQ(spread.count_PE.row(2).sum(), 4);
  for (const std::int64_t label : {-1, 1000})
    EXPECT_NE(complaint([&] {
                checkpoint::spread_of_layer(model, "model.layers.0", tokens_of(folder, 1, 16, {label}, "label"));
              }).find("labels are numbers from 0 to 999"),
              std::string::npos);
}

TEST(CheckpointRun, SaysWhatIsWrongWithTheTokens) {
  const Model model = checkpoint::open_model(fixture("mixtral"));
  const TemporaryFolder folder;
  EXPECT_NE(complaint([&] {
              checkpoint::run_layer(model, "model.layers.0", tokens_of(folder, 2, 15));
            }).find("is F64 [2, 15], not rows of 16 numbers"),
            std::string::npos);
  EXPECT_NE(complaint([&] {
              checkpoint::run_layer(model, "model.layers.0", tokens_of(folder, 2, 16, {1}));
            }).find("is I64 [1] for 2 tokens"),
            std::string::npos);
  moe::io::SafetensorsWriter writer;
  writer.add("x", moe::io::DType::F32, {16}, std::vector<float>(16));
  writer.write(folder / "vector.safetensors");
  EXPECT_NE(complaint([&] {
              checkpoint::run_layer(model, "model.layers.0", folder / "vector.safetensors");
            }).find("is F32 [16], not rows of 16 numbers"),
            std::string::npos);
  EXPECT_NE(message_of<moe::io::FileError>(
                [&] { checkpoint::run_layer(model, "model.layers.0", folder / "none.safetensors"); }),
            "");
}

TEST(CheckpointModel, FindsLayersByNumber) {
  EXPECT_EQ(checkpoint::layer_named(checkpoint::open_model(fixture("llama4")), 1), "language_model.model.layers.1");
  EXPECT_EQ(checkpoint::layer_named(checkpoint::open_model(fixture("gguf_models/qwen3moe_q8_0.gguf")), 1), "blk.1");
  const Model model = checkpoint::open_model(fixture("switch_transformers"));
  EXPECT_EQ(checkpoint::layer_named(model, 1), "encoder.block.1.layer.1");
  EXPECT_EQ(checkpoint::layer_named(model, 1, "encoder"), "encoder.block.1.layer.1");
  EXPECT_EQ(checkpoint::layer_named(model, 1, "decoder"), "decoder.block.1.layer.2");
  EXPECT_NE(complaint([&] {
              checkpoint::layer_named(model, 0, "decoder");
            }).find("layer 0 of the decoder is no Mixture-of-Experts layer"),
            std::string::npos);
  const Model decoding{model.files, model.family, {"decoder.block.3.layer.2"}};
  EXPECT_EQ(checkpoint::layer_named(decoding, 3, "decoder"), "decoder.block.3.layer.2");
  EXPECT_NE(complaint([&] {
              checkpoint::layer_named(decoding, 3);
            }).find("layer 3 of the encoder is no Mixture-of-Experts layer"),
            std::string::npos);
  const Model other = checkpoint::open_model(fixture("deepseek_v3"));
  EXPECT_NE(complaint([&] { checkpoint::layer_named(other, 0); }).find("are model.layers.1"), std::string::npos);
  EXPECT_NE(complaint([&] { checkpoint::layer_named(other, 1, "encoder"); }).find("have no encoder"),
            std::string::npos);
}

TEST(CheckpointModel, ListsTheFirstAndTheLastOfMany) {
  EXPECT_EQ(checkpoint::listed({"a", "b", "c", "d", "e"}), "a, b, c, d, e");
  EXPECT_EQ(checkpoint::listed({"a", "b", "c", "d", "e", "f"}), "a, b, c, ..., f");
}

TEST(CheckpointModel, TakesAFamilyByName) {
  EXPECT_EQ(checkpoint::open_model(fixture("mixtral"), "mixtral").family->name, "mixtral");
  EXPECT_NE(complaint([] { checkpoint::open_model(fixture("mixtral"), "maxtral"); }).find("no family 'maxtral'"),
            std::string::npos);
  EXPECT_NE(complaint([] {
              checkpoint::open_model(fixture("mixtral"), "nllb_moe");
            }).find("no Mixture-of-Experts layer of the family nllb_moe"),
            std::string::npos);
}

TEST(CheckpointShow, TellsWhatLayersHold) {
  const auto text_of = [](const char* folder) {
    std::ostringstream text;
    text << checkpoint::table_of_layers(checkpoint::open_model(fixture(folder)));
    return text.str();
  };
  const std::string mixtral = text_of("mixtral");  // 4 (2 16 12 + 12 16) + 4 16 = 2368 parameters; 2 of 4 experts
  EXPECT_NE(mixtral.find("model.layers.0 .. model.layers.1"), std::string::npos) << mixtral;
  EXPECT_NE(mixtral.find("softmax, divided by the sum"), std::string::npos) << mixtral;
  EXPECT_NE(mixtral.find("2.37 k"), std::string::npos) << mixtral;
  EXPECT_NE(mixtral.find("1.22 k"), std::string::npos) << mixtral;
  EXPECT_NE(mixtral.find("4.62 Ki"), std::string::npos) << mixtral;  // 4736 bytes
  const std::string deepseek = text_of("deepseek_v3_fp8");
  EXPECT_NE(deepseek.find("sigmoid + bias, "), std::string::npos) << deepseek;
  EXPECT_NE(deepseek.find("F8_E4M3 with block scales"), std::string::npos) << deepseek;
  EXPECT_NE(text_of("gguf_models/gpt_oss_mxfp4.gguf").find("F32, MXFP4"), std::string::npos);
}

TEST(CheckpointShow, ShortensNumbers) {
  EXPECT_EQ(checkpoint::short_number(999), "999");
  EXPECT_EQ(checkpoint::short_number(46'700'000'000), "46.7 G");
  EXPECT_EQ(checkpoint::short_number(1536, 1024), "1.50 Ki");
  EXPECT_EQ(checkpoint::short_number(3ULL << 40, 1024), "3.00 Ti");
}

}  // namespace checkpoint_run_test
