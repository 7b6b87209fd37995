// Reading tensors from a safetensors file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moe/io/convert.hpp"
#include "moe/io/input_file.hpp"
#include "moe/io/safetensors_header.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// A file whose header is known and was checked against the file's true size; values are read by the calls below, so
/// one layer of a large file costs no more than that layer. Every member is const and may be called by many threads;
/// copies share the open file, and a file that is renamed over the path meanwhile does not disturb it. Every error is a
/// FileError that names the file and the tensor.
class Safetensors {
 public:
  /// Reads and checks the whole header: a file that this returns has tensors that cover it exactly. Nothing is
  /// allocated by a number that the file declares before that number was compared with the file's size.
  static Safetensors open(const std::filesystem::path& path);

  // Of a temporary these are copies: for (const auto& name : Safetensors::open(path).names()) may read them.
  const std::string& path() const& { return file_->name(); }
  std::string path() const&& { return file_->name(); }
  const std::map<std::string, std::string>& metadata() const& { return header_.metadata; }
  std::map<std::string, std::string> metadata() const&& { return header_.metadata; }
  /// In the order of their bytes in the file.
  const std::vector<std::string>& names() const& { return header_.names; }
  std::vector<std::string> names() const&& { return header_.names; }
  const TensorInfo& tensor(std::string_view name) const&;
  TensorInfo tensor(std::string_view name) const&& { return tensor(name); }

  bool contains(std::string_view name) const { return header_.tensors.find(name) != header_.tensors.end(); }

  /// The values as stored, in any element type.
  std::vector<std::byte> bytes(std::string_view name) const;

  /// All values of a tensor of any rank, row-major.
  template <moe::detail::FileScalar S>
  std::vector<S> values(std::string_view name, Precision precision = Precision::exact) const;

  /// Rank 2: (rows, columns). Rank 1: (n, 1), as moe::Vector. Rank 0: (1, 1). Higher ranks: see slice.
  template <moe::detail::FileScalar S>
  Matrix<S> matrix(std::string_view name, Precision precision = Precision::exact) const;

  /// Rank 1, or a scalar as (1).
  template <moe::detail::FileScalar S>
  Vector<S> vector(std::string_view name, Precision precision = Precision::exact) const;

  /// Part `index` along the first dimension; only its bytes are read. Rank 3, as in (E, F, D): the (F, D) of one
  /// expert. Rank 2, as in (E, F): (F, 1). Rank 1: (1, 1).
  template <moe::detail::FileScalar S>
  Matrix<S> slice(std::string_view name, std::uint64_t index, Precision precision = Precision::exact) const;

 private:
  Safetensors(std::shared_ptr<const moe::detail::InputFile> file, moe::detail::SafetensorsHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}

  template <class... Parts>
  [[noreturn]] void fail(std::string_view name, const Parts&... parts) const {
    moe::detail::fail_io(path(), ": tensor ", moe::detail::in_quotes(name), ": ", parts...);
  }
  std::vector<std::byte> read(std::string_view name, std::uint64_t begin, std::uint64_t count) const;
  Index extent(std::string_view name, const TensorInfo& info, std::size_t axis) const;

  // part: a tensor, or a slice of one, whose begin and end are those of its bytes
  template <class S>
  void decode_into(std::string_view name, const TensorInfo& part, S* out, Precision precision) const;
  template <class S>
  Matrix<S> matrix_of(std::string_view name, const TensorInfo& part, Precision precision) const;

  std::shared_ptr<const moe::detail::InputFile> file_;
  moe::detail::SafetensorsHeader header_;
};

inline Safetensors Safetensors::open(const std::filesystem::path& path) {
  auto file = std::make_shared<const moe::detail::InputFile>(path);
  auto header = moe::detail::read_safetensors_header(*file);
  return Safetensors(std::move(file), std::move(header));
}

inline const TensorInfo& Safetensors::tensor(std::string_view name) const& {
  const auto found = header_.tensors.find(name);
  if (found == header_.tensors.end()) fail(name, "not in the file");
  return found->second;
}

inline std::vector<std::byte> Safetensors::bytes(std::string_view name) const {
  const TensorInfo& info = tensor(name);
  return read(name, info.begin, info.bytes());
}

inline std::vector<std::byte> Safetensors::read(std::string_view name, std::uint64_t begin, std::uint64_t count) const {
  if (count > static_cast<std::uint64_t>((std::numeric_limits<std::ptrdiff_t>::max)()))
    fail(name, count, " bytes exceed the address space");
  std::vector<std::byte> result(static_cast<std::size_t>(count));
  file_->read(header_.data_begin + begin, result);
  return result;
}

inline Index Safetensors::extent(std::string_view name, const TensorInfo& info, std::size_t axis) const {
  const std::uint64_t dimension = info.shape[axis];
  if (dimension > static_cast<std::uint64_t>((std::numeric_limits<Index>::max)()))
    fail(name, "field 'shape': ", dimension, " exceeds Eigen's index type");
  return static_cast<Index>(dimension);
}

template <class S>
void Safetensors::decode_into(std::string_view name, const TensorInfo& part, S* out, Precision precision) const {
  moe::detail::require_conversion<S>(path(), name, part.dtype, precision);
  moe::detail::checked_decode(path(), name, part.dtype, read(name, part.begin, part.bytes()), out, precision);
}

template <moe::detail::FileScalar S>
std::vector<S> Safetensors::values(std::string_view name, Precision precision) const {
  const TensorInfo& info = tensor(name);
  std::vector<S> result(static_cast<std::size_t>(info.size()));
  decode_into(name, info, result.data(), precision);
  return result;
}

template <class S>
Matrix<S> Safetensors::matrix_of(std::string_view name, const TensorInfo& part, Precision precision) const {
  const std::size_t rank = part.shape.size();
  if (rank > 2) fail(name, "has rank ", rank, ", not a matrix: ", to_string(part), "; slice takes a part of rank 3");
  Matrix<S> result(rank > 0 ? extent(name, part, 0) : 1, rank > 1 ? extent(name, part, 1) : 1);
  decode_into(name, part, result.data(), precision);
  return result;
}

template <moe::detail::FileScalar S>
Matrix<S> Safetensors::matrix(std::string_view name, Precision precision) const {
  return matrix_of<S>(name, tensor(name), precision);
}

template <moe::detail::FileScalar S>
Vector<S> Safetensors::vector(std::string_view name, Precision precision) const {
  const TensorInfo& info = tensor(name);
  if (info.shape.size() > 1) fail(name, "has rank ", info.shape.size(), ", not a vector: ", to_string(info));
  Vector<S> result(info.shape.empty() ? 1 : extent(name, info, 0));
  decode_into(name, info, result.data(), precision);
  return result;
}

template <moe::detail::FileScalar S>
Matrix<S> Safetensors::slice(std::string_view name, std::uint64_t index, Precision precision) const {
  TensorInfo part = tensor(name);
  if (part.shape.empty()) fail(name, "a scalar has no slices");
  if (dtype_bits(part.dtype) % 8 != 0) fail(name, dtype_name(part.dtype), " values cannot be sliced");
  const std::uint64_t parts = part.shape.front();
  if (index >= parts) fail(name, "slice ", index, " of ", to_string(part));
  const std::uint64_t bytes = part.bytes() / parts;
  part.shape.erase(part.shape.begin());
  part.begin += index * bytes;
  part.end = part.begin + bytes;
  return matrix_of<S>(name, part, precision);
}

}  // namespace io

MOE_NAMESPACE_END
