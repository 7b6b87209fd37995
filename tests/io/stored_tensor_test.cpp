#include "moe/io/stored_tensor.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "block_fixture.hpp"
#include "moe/core/executor.hpp"
#include "moe/io/checkpoint.hpp"
#include "temporary_folder.hpp"

namespace stored_tensor_test {

using moe::Matrix;
using moe::io::CheckpointTensor;
using moe::io::DType;
using moe::io::FileError;
using moe::io::MappedBytes;
using moe::io::Precision;
using moe::io::StoredTensor;

CheckpointTensor described(const std::string& name, moe::io::TensorFormat format, std::vector<std::uint64_t> shape) {
  CheckpointTensor tensor;
  tensor.name = name;
  tensor.format = format;
  tensor.shape = std::move(shape);
  return tensor;
}

template <class T>
MappedBytes bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return MappedBytes(std::move(bytes));
}

StoredTensor floats(std::vector<std::uint64_t> shape) {
  std::uint64_t count = 1;
  for (const std::uint64_t dimension : shape) count *= dimension;
  std::vector<float> values;
  for (std::uint64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i));
  return {"file", described("w", moe::io::format_of(DType::F32), std::move(shape)), bytes_of(values)};
}

TEST(StoredTensor, RowsAreThoseThatAreWanted) {
  const StoredTensor tensor = floats({2, 3, 4});
  EXPECT_EQ(tensor.rows(), 6u);
  EXPECT_EQ(tensor.cols(), 4u);
  EXPECT_EQ(tensor.parts(), std::vector<std::string>{"w"});
  EXPECT_EQ(tensor.format(), "F32");
  std::vector<double> found(8);
  tensor.decode(2, 2, found.data());
  EXPECT_EQ(found, (std::vector<double>{8, 9, 10, 11, 12, 13, 14, 15}));
  tensor.decode(6, 0, found.data());
  EXPECT_NE(message_of<FileError>([&] { tensor.decode(5, 2, found.data()); }).find("there are no 2 rows from row 5 on"),
            std::string::npos);
  EXPECT_THROW(tensor.decode(~std::uint64_t{0}, 2, found.data()), FileError);
}

TEST(StoredTensor, MatricesVectorsAndSlices) {
  EXPECT_EQ(floats({2, 3}).matrix<float>(), (Matrix<float>{{0, 1, 2}, {3, 4, 5}}));
  EXPECT_EQ(floats({3}).matrix<double>(), (Matrix<double>{{0}, {1}, {2}}));
  EXPECT_EQ(floats({}).matrix<float>(), (Matrix<float>{{0}}));
  EXPECT_EQ(floats({2, 2, 3}).slice<float>(1), (Matrix<float>{{6, 7, 8}, {9, 10, 11}}));
  EXPECT_EQ(floats({2, 3}).slice<double>(1), (Matrix<double>{{3}, {4}, {5}}));
  const auto error = [](auto&& f) { return message_of<FileError>(f); };
  EXPECT_NE(error([] { floats({1, 2, 3}).matrix<float>(); }).find("not a matrix: F32 [1, 2, 3]"), std::string::npos);
  EXPECT_NE(error([] { floats({2, 3}).slice<float>(2); }).find("no slice 2 in F32 [2, 3]"), std::string::npos);
  EXPECT_NE(error([] { floats({3}).slice<float>(0); }).find("has rank 1"), std::string::npos);
}

TEST(StoredTensor, ThreadsReadTheSame) {
  const StoredTensor tensor = floats({300, 1000});
  const moe::Team team{3};
  EXPECT_EQ(tensor.matrix<double>(Precision::exact, team), tensor.matrix<double>(Precision::exact, moe::Serial{}));
  EXPECT_EQ(tensor.matrix<float>(Precision::exact, team)(299, 999), 299999.f);
}

TEST(StoredTensor, EmptyOnesCostNothing) {
  const std::uint64_t many = std::uint64_t{1} << 62;
  const StoredTensor no_columns("file", described("w", moe::io::format_of(DType::F32), {many, 0}), MappedBytes{});
  EXPECT_EQ(no_columns.matrix<float>().cols(), 0);
  const StoredTensor no_rows("file", described("w", moe::io::format_of(DType::F32), {0, many}), MappedBytes{});
  EXPECT_EQ(no_rows.matrix<float>().rows(), 0);
  const StoredTensor wide("file", described("w", moe::io::format_of(DType::F32), {0, std::uint64_t{1} << 63}),
                          MappedBytes{});
  EXPECT_THROW(wide.matrix<float>(), FileError);
  float unused = 0;
  const auto scaled = StoredTensor::with_block_scales(
      "file", described("w", moe::io::format_of(DType::F8_E4M3), {many, 0}), MappedBytes{},
      described("s", moe::io::format_of(DType::F32), {many / 128, 0}), MappedBytes{}, {128, 128});
  scaled.decode(0, many, &unused);
}

struct Scaled {
  std::vector<std::uint8_t> values;
  std::vector<float> scales;
  StoredTensor tensor;
};

Scaled scaled(std::vector<std::uint64_t> shape, std::vector<std::uint64_t> scale_shape,
              std::array<std::uint64_t, 2> block) {
  std::mt19937 random(11);
  std::vector<std::uint8_t> values;
  std::vector<float> scales;
  std::uint64_t count = 1, scale_count = 1;
  for (const std::uint64_t dimension : shape) count *= dimension;
  for (const std::uint64_t dimension : scale_shape) scale_count *= dimension;
  for (std::uint64_t i = 0; i < count; ++i) values.push_back(static_cast<std::uint8_t>(random() % 127));
  for (std::uint64_t i = 0; i < scale_count; ++i) scales.push_back(0.01f + static_cast<float>(random() % 1000) / 999);
  StoredTensor tensor = StoredTensor::with_block_scales(
      "file", described("w", moe::io::format_of(DType::F8_E4M3), std::move(shape)), bytes_of(values),
      described("w_scale_inv", moe::io::format_of(DType::F32), std::move(scale_shape)), bytes_of(scales), block);
  return {std::move(values), std::move(scales), std::move(tensor)};
}

TEST(StoredTensor, BlockScalesMultiplyAlsoAtRaggedEdges) {
  // Three matrices of 5 x 7 in blocks of 2 x 3: (3, 3, 3) scales.
  const Scaled given = scaled({3, 5, 7}, {3, 3, 3}, {2, 3});
  EXPECT_EQ(given.tensor.format(), "F8_E4M3 with block scales");
  EXPECT_EQ(given.tensor.parts(), (std::vector<std::string>{"w", "w_scale_inv"}));
  for (std::uint64_t e = 0; e < 3; ++e) {
    const Matrix<float> narrow = given.tensor.slice<float>(e);
    const Matrix<double> wide = given.tensor.slice<double>(e);
    for (std::uint64_t i = 0; i < 5; ++i)
      for (std::uint64_t j = 0; j < 7; ++j) {
        const float value = moe::detail::e4m3_value(given.values[(e * 5 + i) * 7 + j]);
        const float scale = given.scales[e * 9 + i / 2 * 3 + j / 3];
        const auto row = static_cast<moe::Index>(i), col = static_cast<moe::Index>(j);
        EXPECT_EQ(narrow(row, col), value * scale);
        EXPECT_EQ(wide(row, col), static_cast<double>(value) * static_cast<double>(scale));
      }
  }
  std::vector<float> rows(2 * 7);
  given.tensor.decode(7, 2, rows.data());  // rows 2 and 3 of the second matrix
  EXPECT_EQ(rows[8], given.tensor.slice<float>(1)(3, 1));
}

TEST(StoredTensor, BlocksOf128HaveTheScalesOfTheirCorner) {
  const Scaled given = scaled({130, 129}, {2, 2}, {128, 128});
  const Matrix<float> found = given.tensor.matrix<float>();
  const auto value = [&](std::uint64_t i, std::uint64_t j) {
    return moe::detail::e4m3_value(given.values[i * 129 + j]);
  };
  EXPECT_EQ(found(127, 127), value(127, 127) * given.scales[0]);
  EXPECT_EQ(found(127, 128), value(127, 128) * given.scales[1]);
  EXPECT_EQ(found(128, 127), value(128, 127) * given.scales[2]);
  EXPECT_EQ(found(129, 128), value(129, 128) * given.scales[3]);
}

TEST(StoredTensor, ScalesOfOtherShapesAreRefused) {
  const auto error = [](auto&&... shapes) { return message_of<FileError>([&] { scaled(shapes...); }); };
  using Shape = std::vector<std::uint64_t>;
  using Block = std::array<std::uint64_t, 2>;
  EXPECT_NE(
      error(Shape{130, 129}, Shape{1, 2}, Block{128, 128})
          .find(
              "its scales 'w_scale_inv' are F32 [1, 2], not F32 [2, 2], one for each 128 x 128 of F8_E4M3 [130, 129]"),
      std::string::npos);
  EXPECT_NE(error(Shape{4, 4}, Shape{1}, Block{4, 4}), "");
  EXPECT_NE(error(Shape{4}, Shape{1}, Block{4, 4}).find("is no matrix"), std::string::npos);
  EXPECT_NE(error(Shape{4, 4}, Shape{1, 1}, Block{0, 4}).find("blocks of 0 x 4"), std::string::npos);
  EXPECT_EQ(error(Shape{4, 4}, Shape{1, 1}, Block{~0ull, ~0ull}), "");
}

TEST(StoredTensor, BlockScalesAreForSingleNumbers) {
  const auto error = [](const moe::io::TensorFormat& values, const moe::io::TensorFormat& scales) {
    return message_of<FileError>([&] {
      StoredTensor::with_block_scales("file", described("w", values, {2, 64}),
                                      bytes_of(std::vector<std::uint8_t>(128 / values.elements * values.bytes)),
                                      described("s", scales, {2, 2}),
                                      bytes_of(std::vector<std::uint8_t>(4 / scales.elements * scales.bytes)), {1, 32});
    });
  };
  const auto f8 = moe::io::format_of(DType::F8_E4M3), f32 = moe::io::format_of(DType::F32);
  EXPECT_EQ(error(f8, f32), "");
  EXPECT_NE(error(*moe::io::gguf_format(8), f32).find("not Q8_0 [2, 64] and F32 [2, 2]"), std::string::npos);
  EXPECT_NE(error(f8, moe::io::format_of(DType::F4)).find("not F8_E4M3 [2, 64] and F4 [2, 2]"), std::string::npos);
}

TEST(StoredTensor, RowsAreWholeBlocks) {
  const StoredTensor tensor("file", described("w", *moe::io::gguf_format(8), {2, 16}),
                            bytes_of(std::vector<std::uint8_t>(34)));
  EXPECT_THROW(tensor.matrix<float>(), FileError);
}

TEST(StoredTensor, PairsOfMxfp4AreWhatAnotherReaderDecoded) {
  const auto checkpoint = moe::io::Checkpoint::open(fixture("gpt_oss_mxfp4"));
  const auto expected = moe::io::Safetensors::open(fixture("gpt_oss_mxfp4/expected.safetensors"));
  std::size_t count = 0;
  for (const std::string& name : expected.names()) {
    if (!name.starts_with("decoded.")) continue;
    const StoredTensor tensor = checkpoint.stored(name.substr(8));
    EXPECT_EQ(tensor.format(), "MXFP4 in pairs");
    EXPECT_EQ(tensor.shape(), expected.tensor(name).shape);
    for (std::uint64_t e = 0; e < 4; ++e) {
      const Matrix<float> of_expert = expected.slice<float>(name, e);
      EXPECT_EQ(tensor.slice<float>(e), of_expert);
      EXPECT_EQ(tensor.slice<double>(e), of_expert.cast<double>());
    }
    ++count;
  }
  EXPECT_EQ(count, 2u);
}

TEST(StoredTensor, OtherPairsAreRefused) {
  const auto error = [](DType dtype, std::vector<std::uint64_t> blocks, std::vector<std::uint64_t> scales) {
    const auto zeros = [](const std::vector<std::uint64_t>& shape) {
      std::uint64_t count = 1;
      for (const std::uint64_t dimension : shape) count *= dimension;
      return bytes_of(std::vector<std::uint8_t>(count));
    };
    return message_of<FileError>([&] {
      StoredTensor::of_mxfp4_pairs("file", "w", described("w_blocks", moe::io::format_of(dtype), blocks), zeros(blocks),
                                   described("w_scales", moe::io::format_of(DType::U8), scales), zeros(scales));
    });
  };
  EXPECT_EQ(error(DType::U8, {2, 3, 16}, {2, 3}), "");
  EXPECT_EQ(error(DType::U8, {2, 0, 16}, {2, 0}), "");
  EXPECT_NE(error(DType::U8, {2, 3, 16}, {2, 2}).find("not U8 [2, 3, 16] and U8 [2, 2]"), std::string::npos);
  EXPECT_NE(error(DType::U8, {2, 3, 8}, {2, 3}), "");
  EXPECT_NE(error(DType::I8, {2, 3, 16}, {2, 3}), "");
  EXPECT_NE(error(DType::U8, {16}, {}), "");
}

TEST(StoredTensor, BytesMustBeThoseOfTheTensor) {
  const std::string reason = message_of<FileError>([] {
    StoredTensor("file", described("w", moe::io::format_of(DType::F32), {2, 3}), bytes_of(std::vector<float>(5)));
  });
  EXPECT_NE(reason.find("tensor 'w': 20 bytes are not those of F32 [2, 3]"), std::string::npos) << reason;
  EXPECT_THROW(StoredTensor("file", described("w", *moe::io::gguf_format(8), {2, 32}), MappedBytes{}), FileError);
}

TEST(StoredTensor, BytesOfRows) {
  const auto packed = moe::io::Checkpoint::open(fixture("gpt_oss_mxfp4"));
  const auto weight = packed.stored("model.layers.0.mlp.experts.down_proj");  // (4, 32, 32)
  ASSERT_EQ(weight.in_file().size(), 2u);
  EXPECT_EQ(weight.in_file()[1].name, "model.layers.0.mlp.experts.down_proj_scales");
  const auto rows = weight.bytes(33, 2);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].size(), 2u * 16);
  EXPECT_EQ(rows[1].size(), 2u);
  EXPECT_EQ(rows[0].data() - weight.bytes(0, 1)[0].data(), 33 * 16);
  EXPECT_NE(message_of<moe::io::FileError>([&] { weight.bytes(127, 2); }).find("there are no bytes of 2 rows"),
            std::string::npos);
  const auto scaled = moe::io::Checkpoint::open(fixture("deepseek_v3_fp8"));
  const auto fp8 = scaled.stored("model.layers.1.mlp.experts.0.up_proj.weight");  // (144, 160): 2 x 2 scales
  const auto all = fp8.bytes(0, 144);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].size(), 144u * 160);
  EXPECT_EQ(all[1].size(), 2u * 2 * 4);
  EXPECT_THROW(fp8.bytes(0, 128), moe::io::FileError);  // scales are of whole matrices
}

}  // namespace stored_tensor_test
