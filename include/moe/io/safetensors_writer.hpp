// Writing tensors to a safetensors file.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/io/atomic_file.hpp"
#include "moe/io/convert.hpp"
#include "moe/io/safetensors_text.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// Collects tensors (copies of them) and writes them as one file. The bytes of the file depend on names, values and
/// metadata alone, not on the order of the calls: the tensors are sorted by element width, widest first, then by name,
/// so that each is aligned to its element in the file.
class SafetensorsWriter {
 public:
  /// Text pairs for the file's `__metadata__`.
  std::map<std::string, std::string> metadata;

  /// An Eigen matrix or expression of any storage order: rank 2 as (rows, columns); one that is a vector by its type:
  /// rank 1. Throws FileError if the name was added before.
  template <class Derived>
  void add(std::string name, const Eigen::DenseBase<Derived>& values);

  /// Row-major values of any shape. Values of a C++ type must be of the dtype's own type (float for F32); std::byte is
  /// taken for raw bytes of any dtype, and std::uint8_t also for BOOL.
  /// Throws FileError if dtype, shape and the number of values disagree, or the name was added before.
  template <std::ranges::contiguous_range Values>
  void add(std::string name, DType dtype, std::vector<std::uint64_t> shape, const Values& values);

  /// Replaces the file as a whole: on any error (FileError) an old file of that name stays as it was.
  /// The writer may be used again.
  void write(const std::filesystem::path& path) const;

 private:
  struct Tensor {
    TensorInfo info;
    std::vector<std::byte> bytes;
  };
  using Entry = std::map<std::string, Tensor>::value_type;

  void add_bytes(std::string name, TensorInfo info, std::span<const std::byte> bytes);
  std::vector<const Entry*> in_file_order() const;

  std::map<std::string, Tensor> tensors_;
};

template <class Derived>
void SafetensorsWriter::add(std::string name, const Eigen::DenseBase<Derived>& values) {
  using S = typename Derived::Scalar;
  const Matrix<S> plain = values;
  std::vector<std::uint64_t> shape;
  if constexpr (Derived::IsVectorAtCompileTime)
    shape = {static_cast<std::uint64_t>(plain.size())};
  else
    shape = {static_cast<std::uint64_t>(plain.rows()), static_cast<std::uint64_t>(plain.cols())};
  add(std::move(name), dtype_of<S>(), std::move(shape),
      std::span<const S>(plain.data(), static_cast<std::size_t>(plain.size())));
}

template <std::ranges::contiguous_range Values>
void SafetensorsWriter::add(std::string name, DType dtype, std::vector<std::uint64_t> shape, const Values& values) {
  using S = std::remove_cv_t<std::ranges::range_value_t<const Values>>;
  const std::span<const S> span(std::ranges::data(values), std::ranges::size(values));
  if constexpr (!std::is_same_v<S, std::byte>) {
    const bool same = dtype == dtype_of<S>() || (std::is_same_v<S, std::uint8_t> && dtype == DType::BOOL);
    if (!same)
      moe::detail::fail_io("writer: tensor ", moe::detail::in_quotes(name), ": its values are ",
                           dtype_name(dtype_of<S>()), ", not ", dtype_name(dtype));
  }
  TensorInfo info{.dtype = dtype, .shape = std::move(shape)};
  add_bytes(std::move(name), std::move(info), std::as_bytes(span));
}

inline void SafetensorsWriter::add_bytes(std::string name, TensorInfo info, std::span<const std::byte> bytes) {
  using moe::detail::fail_io, moe::detail::in_quotes;
  const std::uint64_t needed = moe::detail::checked_bytes("writer", name, info);
  if (bytes.size() != needed)
    fail_io("writer: tensor ", in_quotes(name), ": ", to_string(info), " needs ", needed, " bytes, ", bytes.size(),
            " are given");
  Tensor tensor{std::move(info), {bytes.begin(), bytes.end()}};
  const auto [place, inserted] = tensors_.try_emplace(std::move(name), std::move(tensor));
  if (!inserted) fail_io("writer: tensor ", in_quotes(place->first), " is given twice");
}

inline std::vector<const SafetensorsWriter::Entry*> SafetensorsWriter::in_file_order() const {
  std::vector<const Entry*> order;
  for (const Entry& entry : tensors_) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
    const unsigned bits_a = dtype_bits(a->second.info.dtype), bits_b = dtype_bits(b->second.info.dtype);
    return bits_a != bits_b ? bits_a > bits_b : a->first < b->first;
  });
  return order;
}

inline void SafetensorsWriter::write(const std::filesystem::path& path) const {
  const auto order = in_file_order();
  std::vector<moe::detail::NamedTensor> tensors;
  for (const Entry* entry : order) tensors.emplace_back(entry->first, entry->second.info);
  const std::string text = moe::detail::safetensors_text(path.string(), tensors, metadata);
  moe::detail::AtomicFile file(path);
  file.write(std::bit_cast<std::array<std::byte, 8>>(static_cast<std::uint64_t>(text.size())));
  file.write(std::as_bytes(std::span(text)));
  for (const Entry* entry : order) file.write(entry->second.bytes);
  file.commit();
}

}  // namespace io

MOE_NAMESPACE_END
