// The numbers of a weight as they lie in a checkpoint: mapped, and decoded by rows where they are wanted.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/io/checkpoint_tensor.hpp"
#include "moe/io/mapped_bytes.hpp"
#include "moe/io/tensor_format.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// A tensor of numbers, made of one tensor of a file, or of two where scales are stored beside: F8_E4M3 with a scale
/// for each block of rows and columns, and mxfp4 as gpt-oss has it. Every member is const and may be called by many
/// threads. Errors are FileErrors that name the file and the tensor.
class StoredTensor {
 public:
  /// Plain: the tensor's own format says all. Here and below, bytes of another number than the tensor's are refused.
  StoredTensor(std::string source, CheckpointTensor tensor, MappedBytes bytes);

  /// Number (i, j) of a matrix, of which a tensor of higher rank holds several, times scale
  /// (i / block[0], j / block[1]); blocks at the edges may be ragged. The scales of (R, C) are (ceil(R / block[0]),
  /// ceil(C / block[1])).
  static StoredTensor with_block_scales(std::string source, CheckpointTensor tensor, MappedBytes bytes,
                                        const CheckpointTensor& scales, MappedBytes scale_bytes,
                                        std::array<std::uint64_t, 2> block);

  /// mxfp4 in two tensors of U8: `blocks` (..., n, 16) holds 32 codes in 16 bytes, the low nibble first, `scales`
  /// (..., n) their scales. The tensor is (..., 32 n).
  static StoredTensor of_mxfp4_pairs(std::string source, std::string name, const CheckpointTensor& blocks,
                                     MappedBytes block_bytes, const CheckpointTensor& scales, MappedBytes scale_bytes);

  const std::string& name() const { return tensor_.name; }
  /// The names of the tensors in the file.
  const std::vector<std::string>& parts() const { return parts_; }
  /// "BF16", "Q4_K", "F8_E4M3 with block scales", "MXFP4 in pairs".
  std::string format() const;
  const std::vector<std::uint64_t>& shape() const { return tensor_.shape; }
  /// As a matrix: the last dimension is the columns, the others together are the rows.
  std::uint64_t rows() const { return tensor_.rows(); }
  std::uint64_t cols() const { return tensor_.cols(); }

  /// The same tensors, as the file describes them.
  const std::vector<CheckpointTensor>& in_file() const { return in_file_; }
  /// Of each of these the bytes that hold rows first ... first + count - 1; with block scales, of whole matrices.
  std::vector<std::span<const std::byte>> bytes(std::uint64_t first, std::uint64_t count) const;

  /// Rows first ... first + count - 1, row-major, into `out`, float or double. What is wider than `out` is refused
  /// without Precision::rounded, as is a format that cannot be read.
  template <class S>
  void decode(std::uint64_t first, std::uint64_t count, S* out, Precision precision = Precision::exact) const;

  /// The same by the threads of an executor.
  template <class S, class Executor>
  void decode(std::uint64_t first, std::uint64_t count, S* out, Precision precision, const Executor& executor) const;

  /// Rank 2: (rows, columns). Rank 1: (n, 1), as moe::Vector. Rank 0: (1, 1). Higher ranks: see slice.
  template <class S, class Executor = DefaultExecutor>
  Matrix<S> matrix(Precision precision = Precision::exact, const Executor& executor = {}) const;

  /// Part `index` along the first dimension; only its bytes are touched. Rank 3, as in (E, F, D): the (F, D) of one
  /// expert. Rank 2, as in (E, F): (F, 1).
  template <class S, class Executor = DefaultExecutor>
  Matrix<S> slice(std::uint64_t index, Precision precision = Precision::exact, const Executor& executor = {}) const;

 private:
  enum class Layout { plain, block_scales, mxfp4_pairs };

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    moe::detail::fail_io(source_, ": tensor ", moe::detail::in_quotes(name()), ": ", parts...);
  }
  static void require_bytes(const std::string& source, const CheckpointTensor& tensor, const MappedBytes& bytes) {
    const auto needed = moe::detail::checked_product(tensor.shape, tensor.format.bytes);
    if (!needed || *needed / tensor.format.elements != bytes.size())
      moe::detail::fail_io(source, ": tensor ", moe::detail::in_quotes(tensor.name), ": ", bytes.size(),
                           " bytes are not those of ", to_string(tensor));
  }
  template <class S>
  void decode_block_scales(std::uint64_t first, std::uint64_t count, S* out, Precision precision) const;
  template <class S>
  Matrix<S> part(std::uint64_t first, std::span<const std::uint64_t> shape, Precision precision,
                 const auto& executor) const;

  std::string source_;
  CheckpointTensor tensor_;  // its shape is that of the numbers
  MappedBytes bytes_;
  std::vector<std::string> parts_;
  std::vector<CheckpointTensor> in_file_;
  Layout layout_ = Layout::plain;
  TensorFormat scale_format_;
  MappedBytes scale_bytes_;
  std::array<std::uint64_t, 2> block_{1, 1};
};

inline StoredTensor::StoredTensor(std::string source, CheckpointTensor tensor, MappedBytes bytes)
    : source_(std::move(source)),
      tensor_(std::move(tensor)),
      bytes_(std::move(bytes)),
      parts_{tensor_.name},
      in_file_{tensor_} {
  require_bytes(source_, tensor_, bytes_);
}

inline StoredTensor StoredTensor::with_block_scales(std::string source, CheckpointTensor tensor, MappedBytes bytes,
                                                    const CheckpointTensor& scales, MappedBytes scale_bytes,
                                                    std::array<std::uint64_t, 2> block) {
  StoredTensor result(std::move(source), std::move(tensor), std::move(bytes));
  const std::vector<std::uint64_t>& shape = result.shape();
  std::vector<std::uint64_t> expected = shape;
  if (block[0] == 0 || block[1] == 0) result.fail("blocks of ", block[0], " x ", block[1], " have no numbers");
  if (shape.size() < 2) result.fail(to_string(result.tensor_), " is no matrix and has block scales");
  if (result.tensor_.format.elements != 1 || scales.format.elements != 1)
    result.fail("block scales are for single numbers, and are such: not ", to_string(result.tensor_), " and ",
                to_string(scales));
  for (std::size_t i = 0; i < 2; ++i) {
    std::uint64_t& extent = expected[shape.size() - 2 + i];
    extent = extent / block[i] + (extent % block[i] != 0 ? 1 : 0);
  }
  if (scales.shape != expected)
    result.fail("its scales ", moe::detail::in_quotes(scales.name), " are ", to_string(scales), ", not ",
                moe::detail::described(scales.format.name, expected), ", one for each ", block[0], " x ", block[1],
                " of ", to_string(result.tensor_));
  require_bytes(result.source_, scales, scale_bytes);
  result.layout_ = Layout::block_scales;
  result.parts_.push_back(scales.name);
  result.in_file_.push_back(scales);
  result.scale_format_ = scales.format;
  result.scale_bytes_ = std::move(scale_bytes);
  result.block_ = block;
  return result;
}

inline StoredTensor StoredTensor::of_mxfp4_pairs(std::string source, std::string name, const CheckpointTensor& blocks,
                                                 MappedBytes block_bytes, const CheckpointTensor& scales,
                                                 MappedBytes scale_bytes) {
  CheckpointTensor tensor = blocks;
  tensor.name = std::move(name);
  StoredTensor result(std::move(source), std::move(tensor), std::move(block_bytes));
  std::vector<std::uint64_t> expected = scales.shape;
  expected.push_back(16);
  const bool are_bytes = blocks.format.dtype == DType::U8 && scales.format.dtype == DType::U8;
  if (!are_bytes || blocks.shape != expected || scales.shape.empty())
    result.fail("mxfp4 is blocks of U8 [..., n, 16] and scales of U8 [..., n], not ", to_string(blocks), " and ",
                to_string(scales));
  require_bytes(result.source_, scales, scale_bytes);
  result.tensor_.shape = scales.shape;
  result.tensor_.shape.back() *= 32;  // cannot overflow: 16 times as much did not
  result.layout_ = Layout::mxfp4_pairs;
  result.parts_ = {blocks.name, scales.name};
  result.in_file_ = {blocks, scales};
  result.scale_bytes_ = std::move(scale_bytes);
  return result;
}

inline std::string StoredTensor::format() const {
  if (layout_ == Layout::mxfp4_pairs) return "MXFP4 in pairs";
  return std::string(tensor_.format.name) + (layout_ == Layout::block_scales ? " with block scales" : "");
}

inline std::vector<std::span<const std::byte>> StoredTensor::bytes(std::uint64_t first, std::uint64_t count) const {
  const std::uint64_t unit = layout_ == Layout::block_scales ? shape()[shape().size() - 2] : 1;
  if (first > rows() || count > rows() - first || unit == 0 || first % unit != 0 || count % unit != 0)
    fail("there are no bytes of ", count, " rows from row ", first, " on in ",
         moe::detail::described(format(), shape()));
  const auto of = [&](const MappedBytes& all) {
    const std::uint64_t each = all.size() / (std::max)(std::uint64_t{1}, rows() / unit);
    return all.bytes().subspan(static_cast<std::size_t>(first / unit * each),
                               static_cast<std::size_t>(count / unit * each));
  };
  if (layout_ == Layout::plain) return {of(bytes_)};
  return {of(bytes_), of(scale_bytes_)};
}

template <class S>
void StoredTensor::decode(std::uint64_t first, std::uint64_t count, S* out, Precision precision) const {
  if (first > rows() || count > rows() - first)
    fail("there are no ", count, " rows from row ", first, " on in ", moe::detail::described(format(), shape()));
  if (count == 0 || cols() == 0) return;
  if (layout_ == Layout::block_scales) return decode_block_scales(first, count, out, precision);
  // Numbers that exist have bytes in memory: none of these products overflows.
  if (layout_ == Layout::mxfp4_pairs) {
    const std::uint64_t blocks = cols() / 32, from = first * blocks;
    const std::byte* const scales = scale_bytes_.bytes().data() + from;
    if constexpr (std::is_same_v<S, float>) {
      moe::detail::decode_mxfp4_pairs(bytes_.bytes().data() + from * 16, scales, count * blocks, out);
    } else {
      std::array<float, 32> floats;
      for (std::uint64_t b = 0; b < count * blocks; ++b) {
        moe::detail::decode_mxfp4_pairs(bytes_.bytes().data() + (from + b) * 16, scales + b, 1, floats.data());
        std::copy(floats.begin(), floats.end(), out + b * 32);
      }
    }
    return;
  }
  if (cols() % tensor_.format.elements != 0)
    fail("rows of ", moe::detail::described(format(), shape()), " are not whole blocks of ", tensor_.format.elements);
  const std::uint64_t row_bytes = cols() / tensor_.format.elements * tensor_.format.bytes;
  moe::detail::decode_format(
      source_, name(), tensor_.format,
      bytes_.bytes().subspan(static_cast<std::size_t>(first * row_bytes), static_cast<std::size_t>(count * row_bytes)),
      out, precision);
}

template <class S>
void StoredTensor::decode_block_scales(std::uint64_t first, std::uint64_t count, S* out, Precision precision) const {
  const std::uint64_t height = shape()[shape().size() - 2], width = cols();
  const std::uint64_t scale_rows = (height - 1) / block_[0] + 1, scale_cols = (width - 1) / block_[1] + 1;
  const std::uint64_t scale_row_bytes = scale_cols * scale_format_.bytes;
  std::vector<S> scales(static_cast<std::size_t>(scale_cols));
  std::uint64_t known = (std::numeric_limits<std::uint64_t>::max)();  // the row of scales that is decoded
  for (std::uint64_t row = first; row < first + count; ++row, out += width) {
    const std::uint64_t wanted = row / height * scale_rows + row % height / block_[0];
    if (wanted != known)
      moe::detail::decode_format(source_, parts_[1], scale_format_,
                                 scale_bytes_.bytes().subspan(static_cast<std::size_t>(wanted * scale_row_bytes),
                                                              static_cast<std::size_t>(scale_row_bytes)),
                                 scales.data(), precision);
    known = wanted;
    moe::detail::decode_format(source_, name(), tensor_.format,
                               bytes_.bytes().subspan(static_cast<std::size_t>(row * width * tensor_.format.bytes),
                                                      static_cast<std::size_t>(width * tensor_.format.bytes)),
                               out, precision);
    for (std::uint64_t b = 0, begin = 0; begin < width; ++b, begin += block_[1]) {
      const S scale = scales[static_cast<std::size_t>(b)];
      const std::uint64_t end = width - begin > block_[1] ? begin + block_[1] : width;
      for (std::uint64_t j = begin; j < end; ++j) out[j] *= scale;
      if (end == width) break;  // begin + block_[1] could overflow
    }
  }
}

template <class S, class Executor>
void StoredTensor::decode(std::uint64_t first, std::uint64_t count, S* out, Precision precision,
                          const Executor& executor) const {
  constexpr std::uint64_t numbers_of_a_task = 1 << 16;
  const std::uint64_t at_once = (std::max)(std::uint64_t{1}, numbers_of_a_task / (std::max)(std::uint64_t{1}, cols()));
  if (first > rows() || count > rows() - first || cols() == 0) return decode(first, count, out, precision);
  const std::uint64_t tasks = count / at_once + (count % at_once != 0 ? 1 : 0);
  executor.parallel_for(static_cast<Index>(tasks), [&](Index task) {
    const std::uint64_t from = static_cast<std::uint64_t>(task) * at_once;
    decode(first + from, (std::min)(at_once, count - from), out + from * cols(), precision);
  });
}

template <class S>
Matrix<S> StoredTensor::part(std::uint64_t first, std::span<const std::uint64_t> shape, Precision precision,
                             const auto& executor) const {
  const bool is_vector = shape.size() == 1;  // a column in memory, a row in the file
  const std::uint64_t height = shape.size() > 1 ? shape[0] : 1, width = shape.empty() ? 1 : shape.back();
  constexpr auto most = static_cast<std::uint64_t>((std::numeric_limits<Index>::max)());
  if (height > most || width > most) fail(height, " x ", width, " exceeds Eigen's index type");
  Matrix<S> result(static_cast<Index>(is_vector ? width : height), static_cast<Index>(is_vector ? height : width));
  decode(first, height, result.data(), precision, executor);
  return result;
}

template <class S, class Executor>
Matrix<S> StoredTensor::matrix(Precision precision, const Executor& executor) const {
  if (shape().size() > 2)
    fail("has rank ", shape().size(), ", not a matrix: ", moe::detail::described(format(), shape()),
         "; slice takes a part of rank 3");
  return part<S>(0, shape(), precision, executor);
}

template <class S, class Executor>
Matrix<S> StoredTensor::slice(std::uint64_t index, Precision precision, const Executor& executor) const {
  const std::size_t rank = shape().size();
  if (rank != 2 && rank != 3)
    fail("has rank ", rank, ", slices are of rank 2 or 3: ", moe::detail::described(format(), shape()));
  if (index >= shape()[0]) fail("there is no slice ", index, " in ", moe::detail::described(format(), shape()));
  const auto inner = std::span(shape()).subspan(1);
  return part<S>(index * (rank == 3 ? inner[0] : 1), inner, precision, executor);
}

}  // namespace io

MOE_NAMESPACE_END
