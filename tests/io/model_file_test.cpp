// Saving and loading a model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "hostile_corpus.hpp"
#include "moe/io/safetensors.hpp"
#include "moe/moe.hpp"
#include "temporary_folder.hpp"

namespace model_file_test {

using moe::io::DType;
using moe::io::FileError;
using moe::io::Safetensors;
using moe::io::SafetensorsWriter;

template <class S>
struct Net {
  moe::Matrix<S> w1 = moe::Matrix<S>::Random(4, 4);  // square: a transposed or exchanged weight has the same shape
  moe::Matrix<S> w2 = moe::Matrix<S>::Random(4, 4);
  moe::Vector<S> bias = moe::Vector<S>::Random(4);
  Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic> column_major = moe::Matrix<S>::Random(2, 3);
  Eigen::Matrix<S, 1, Eigen::Dynamic> row = moe::Vector<S>::Random(3).transpose();
  moe::Vector<std::int64_t> counts = moe::Vector<std::int64_t>::Constant(4, 9);

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("w1", self.w1...);
    f("w2", self.w2...);
    f("bias", self.bias...);
    f("column_major", self.column_major...);
    f("row", self.row...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    f("counts", self.counts...);
  }
  friend bool operator==(const Net& a, const Net& b) {
    return a.w1 == b.w1 && a.w2 == b.w2 && a.bias == b.bias && a.column_major == b.column_major && a.row == b.row &&
           a.counts == b.counts;
  }
};

/// A writer that holds exactly what a Net's file holds, less the tensors named.
SafetensorsWriter writer_without(const Net<float>& net, const std::vector<std::string_view>& left_out) {
  SafetensorsWriter writer;
  const auto add = [&](std::string_view name, const auto& values) {
    if (std::find(left_out.begin(), left_out.end(), name) == left_out.end()) writer.add(std::string(name), values);
  };
  moe::for_each_parameter(add, net);
  moe::for_each_buffer(add, net);
  return writer;
}

std::string load_error(const std::filesystem::path& path, Net<float>& net, moe::io::LoadOptions options = {}) {
  return message_of<FileError>([&] { moe::io::load(path, net, options); });
}

TEST(ModelFile, SaveAndLoadIsTheIdentity) {
  const TemporaryFolder folder;
  Net<float> net, other;
  net.w1(0, 0) = -0.0f;
  net.counts(2) = std::int64_t{1} << 60;
  net.bias(1) = std::numeric_limits<float>::denorm_min();
  moe::io::save(folder / "net", net, {{"step", "17"}});
  ASSERT_FALSE(net == other);
  moe::io::load(folder / "net", other);
  EXPECT_TRUE(net == other);
  EXPECT_TRUE(std::signbit(other.w1(0, 0)));
  const auto file = Safetensors::open(folder / "net");
  EXPECT_EQ(file.metadata().at("step"), "17");
  EXPECT_EQ(file.tensor("w1").shape, (std::vector<std::uint64_t>{4, 4}));
  EXPECT_EQ(file.tensor("bias").shape, std::vector<std::uint64_t>{4});
  EXPECT_EQ(file.matrix<float>("column_major"), moe::Matrix<float>(net.column_major));
  moe::io::save(folder / "again", other, {{"step", "17"}});
  EXPECT_EQ(read_file(folder / "net"), read_file(folder / "again"));
}

/// Weights of fewer bits are saved as they are; a file of another shape, though of as many bytes, is refused.
TEST(ModelFile, HoldsWeightsOfFewerBits) {
  const TemporaryFolder folder;
  std::mt19937_64 rng{1};
  const auto made = [&](moe::Index width, moe::Index hidden) {
    const moe::Layer layer{moe::Router<float>::random(3, width, rng), moe::TopK{.k = 2},
                           moe::make_experts<moe::SwiGlu<float>>(3, width, hidden, rng)};
    return moe::quantized<moe::Int8Weights>(layer);
  };
  const auto saved = made(20, 33);
  auto other = made(20, 33), narrow = made(19, 33);
  moe::io::save(folder / "layer", saved);
  ASSERT_FALSE(saved.experts[1].w2_DF == other.experts[1].w2_DF);
  moe::io::load(folder / "layer", other);
  for (std::size_t e = 0; e < 3; ++e) {
    EXPECT_TRUE(saved.experts[e].w1_FD == other.experts[e].w1_FD);
    EXPECT_TRUE(saved.experts[e].w3_FD == other.experts[e].w3_FD);
    EXPECT_TRUE(saved.experts[e].w2_DF == other.experts[e].w2_DF);
  }
  EXPECT_EQ(Safetensors::open(folder / "layer").tensor("experts.1.w2.code").dtype, DType::U8);
  const auto before = narrow.experts[0].w1_FD;
  const auto message = message_of<FileError>([&] { moe::io::load(folder / "layer", narrow); });
  EXPECT_NE(message.find("'experts.0.w1.shape'"), std::string::npos) << message;
  EXPECT_TRUE(narrow.experts[0].w1_FD == before);
}

TEST(ModelFile, EveryMismatchIsListedAndTheModelUnchanged) {
  const TemporaryFolder folder;
  Net<float> net;
  const Net<float> before = net;
  auto writer = writer_without(Net<float>(), {"w2", "bias", "column_major", "counts"});
  writer.add("W2", net.w2);
  writer.add("bias", DType::F32, {4, 1}, std::vector<float>(4));
  writer.add("column_major", DType::F64, {3, 2}, std::vector<double>(6));
  writer.add("counts", DType::I32, {5}, std::vector<std::int32_t>(5));
  writer.write(folder / "net");
  const std::string message = load_error(folder / "net", net);
  for (const char* line :
       {"mismatches: 6", "'w2': missing in the file, F32 [4, 4] in the model",
        "'bias': F32 [4, 1] in the file, F32 [4] in the model",
        "'column_major': F64 [3, 2] in the file, F32 [2, 3] in the model",
        "'column_major': F64 in the file, F32 in the model (would round",
        "'counts': I32 [5] in the file, I64 [4] in the model", "'W2': not in the model, F32 [4, 4] in the file"})
    EXPECT_NE(message.find(line), std::string::npos) << line << "\nin: " << message;
  EXPECT_TRUE(net == before);
}

TEST(ModelFile, NamesDecideNotShapes) {
  const TemporaryFolder folder;
  Net<float> saved, net;
  auto writer = writer_without(saved, {"w1", "w2"});
  writer.add("w2", saved.w1);
  writer.add("w1", saved.w2);
  writer.write(folder / "net");
  moe::io::load(folder / "net", net);
  EXPECT_EQ(net.w1, saved.w2);
  EXPECT_EQ(net.w2, saved.w1);

  auto renamed = writer_without(saved, {"w1"});
  renamed.add("w3", saved.w1);
  renamed.write(folder / "renamed");
  const Net<float> before = net;
  EXPECT_NE(load_error(folder / "renamed", net).find("mismatches: 2"), std::string::npos);
  EXPECT_TRUE(net == before);
}

TEST(ModelFile, ExtraTensorsNeedLeave) {
  const TemporaryFolder folder;
  const Net<float> saved;
  Net<float> net;
  auto writer = writer_without(saved, {});
  writer.add("optimizer.step", DType::I64, {}, std::vector<std::int64_t>{1});
  writer.write(folder / "net");
  EXPECT_NE(load_error(folder / "net", net).find("'optimizer.step': not in the model"), std::string::npos);
  moe::io::load(folder / "net", net, {.ignore_extra = true});
  EXPECT_TRUE(net == saved);
}

TEST(ModelFile, WideningIsFreeAndRoundingNeedsLeave) {
  const TemporaryFolder folder;
  const Net<float> narrow;
  Net<double> wide;
  moe::io::save(folder / "narrow", narrow);
  moe::io::load(folder / "narrow", wide);
  EXPECT_EQ(wide.w1, narrow.w1.cast<double>());
  EXPECT_EQ(wide.row, narrow.row.cast<double>());

  wide = Net<double>();
  wide.w2(0, 0) = 0.1;
  moe::io::save(folder / "wide", wide);
  Net<float> net;
  const Net<float> before = net;
  EXPECT_NE(load_error(folder / "wide", net).find("mismatches: 5"), std::string::npos);
  EXPECT_TRUE(net == before);
  moe::io::load(folder / "wide", net, {.precision = moe::io::Precision::rounded});
  EXPECT_EQ(net.w2(0, 0), 0.1f);
  EXPECT_EQ(net.bias, wide.bias.cast<float>());
}

TEST(ModelFile, OnlyTheFirstTwentyMismatchesAreListed) {
  const TemporaryFolder folder;
  Net<float> net;
  auto writer = writer_without(net, {"w1"});
  for (int i = 0; i < 49; ++i) writer.add("extra." + std::to_string(i), net.bias);
  writer.write(folder / "net");
  const std::string message = load_error(folder / "net", net);
  EXPECT_NE(message.find("mismatches: 50, of which the first 20 are\n"), std::string::npos) << message;
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 20) << message;
  EXPECT_NE(message.find("'w1': missing"), std::string::npos) << message;
}

TEST(ModelFile, NothingFiniteBecomesInfinite) {
  const TemporaryFolder folder;
  Net<double> wide;
  Net<float> net;
  const Net<float> before = net;
  wide.w2(1, 2) = -1e300;
  moe::io::save(folder / "wide", wide);
  const std::string message = load_error(folder / "wide", net, {.precision = moe::io::Precision::rounded});
  EXPECT_NE(message.find("tensor 'w2': value 6, counted from 0, is a F64 that does not fit F32"), std::string::npos)
      << message;
  EXPECT_TRUE(net == before);

  // What rounds to the largest number fits, what was infinite before stays so, and too little becomes 0.
  constexpr double largest = std::numeric_limits<float>::max(), infinity = std::numeric_limits<double>::infinity();
  wide.w2(1, 2) = largest * (1 + 1e-9);
  wide.w2(0, 0) = infinity;
  wide.w2(0, 1) = 1e-300;
  wide.w2(0, 2) = std::numeric_limits<double>::quiet_NaN();
  moe::io::save(folder / "wide", wide);
  moe::io::load(folder / "wide", net, {.precision = moe::io::Precision::rounded});
  EXPECT_EQ(net.w2(1, 2), std::numeric_limits<float>::max());
  EXPECT_EQ(net.w2(0, 0), std::numeric_limits<float>::infinity());
  EXPECT_EQ(net.w2(0, 1), 0.0f);
  EXPECT_TRUE(std::isnan(net.w2(0, 2)));
}

TEST(ModelFile, WhatIsKeptIsTheModels) {
  const TemporaryFolder folder;
  const Net<float> saved;
  Net<float> net;
  const Net<float> before = net;
  auto writer = writer_without(saved, {"counts"});
  writer.write(folder / "net");
  EXPECT_NE(load_error(folder / "net", net).find("'counts': missing in the file"), std::string::npos);
  moe::io::load(folder / "net", net, {.keep = {"counts", "bias"}});
  EXPECT_EQ(net.counts, before.counts);
  EXPECT_EQ(net.bias, before.bias);
  EXPECT_EQ(net.w1, saved.w1);

  net = before;
  const std::string message = load_error(folder / "net", net, {.keep = {"counts", "bia", "w"}});
  EXPECT_NE(message.find("'bia': named by LoadOptions::keep"), std::string::npos) << message;
  EXPECT_NE(message.find("mismatches: 2"), std::string::npos) << message;
  EXPECT_TRUE(net == before);
}

TEST(ModelFile, KindsOfNumbersAreNotMixed) {
  const TemporaryFolder folder;
  Net<float> net;
  const Net<float> before = net;
  auto writer = writer_without(net, {"bias", "counts"});
  writer.add("bias", DType::I8, {4}, std::vector<std::int8_t>(4));
  writer.add("counts", DType::U64, {4}, std::vector<std::uint64_t>(4));
  writer.write(folder / "net");
  const std::string message = load_error(folder / "net", net, {.precision = moe::io::Precision::rounded});
  EXPECT_NE(message.find("'bias': I8 in the file, F32 in the model"), std::string::npos) << message;
  EXPECT_NE(message.find("'counts': U64 in the file, I64 in the model"), std::string::npos) << message;
  EXPECT_TRUE(net == before);
}

TEST(ModelFile, NoInvalidFileChangesTheModel) {
  const TemporaryFolder folder;
  Net<float> net;
  const Net<float> before = net;
  for (const auto& file : hostile::corpus()) {
    write_file(folder / "net", file.bytes);
    EXPECT_NE(load_error(folder / "net", net, {.ignore_extra = true}), "") << file.name;
  }
  EXPECT_TRUE(net == before);
}

struct Twice {
  moe::Vector<float> a = moe::Vector<float>::Zero(2);
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("a", self.a...);
    f("a", self.a...);
  }
};

TEST(ModelFile, ANameUsedTwiceIsAnError) {
  const TemporaryFolder folder;
  Twice model;
  EXPECT_THROW(moe::io::save(folder / "model", model), FileError);
  EXPECT_EQ(folder.files(), 0);
  SafetensorsWriter writer;
  writer.add("a", model.a);
  writer.write(folder / "model");
  EXPECT_NE(message_of<FileError>([&] { moe::io::load(folder / "model", model); }).find("named twice"),
            std::string::npos);
}

/// Parameters of a type of its own, row-major.
struct Plain {
  struct Table {
    std::vector<double> values = std::vector<double>(6);
    double* data() { return values.data(); }
    const double* data() const { return values.data(); }
    moe::Index rows() const { return 2; }
    moe::Index cols() const { return 3; }
    moe::Index size() const { return 6; }
  } table;
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("table", self.table...);
  }
};

TEST(ModelFile, AnyRowMajorTypeIsAParameter) {
  const TemporaryFolder folder;
  Plain saved, loaded;
  saved.table.values = {1, 2, 3, 4, 5, 6};
  moe::io::save(folder / "model", saved);
  moe::io::load(folder / "model", loaded);
  EXPECT_EQ(loaded.table.values, saved.table.values);
  EXPECT_EQ(Safetensors::open(folder / "model").tensor("table").shape, (std::vector<std::uint64_t>{2, 3}));
}

}  // namespace model_file_test
