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
#include <nlohmann/json.hpp>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/io/atomic_file.hpp"
#include "moe/io/convert.hpp"
#include "moe/io/safetensors_header.hpp"

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
  std::string header_text(const std::vector<const Entry*>& order) const;
  void check_readable(const std::string& source, const std::string& text) const;

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

inline std::string SafetensorsWriter::header_text(const std::vector<const Entry*>& order) const {
  // Of JSON values only strings are made: the destructor of an array or object allocates, and must not fail. Bytes that
  // are no UTF-8 are left out here and found missing by check_readable.
  const auto quoted = [](const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore);
  };
  const auto append_entry = [&](std::string& object, const std::string& key, const std::string& value) {
    object += (object.empty() ? "{" : ",") + quoted(key) + ":" + value;
  };
  std::string text;
  if (!metadata.empty()) {
    std::string pairs;
    for (const auto& [key, value] : metadata) append_entry(pairs, key, quoted(value));
    append_entry(text, std::string(moe::detail::metadata_key), pairs + "}");
  }
  std::uint64_t begin = 0;
  for (const Entry* entry : order) {
    const auto& [name, tensor] = *entry;
    const std::uint64_t end = begin + tensor.bytes.size();
    std::string shape;
    for (const std::uint64_t dimension : tensor.info.shape)
      shape += (shape.empty() ? "" : ",") + std::to_string(dimension);
    append_entry(text, name,
                 "{\"dtype\":\"" + std::string(dtype_name(tensor.info.dtype)) + "\",\"shape\":[" + shape +
                     "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}");
    begin = end;
  }
  text += text.empty() ? "{}" : "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data then begins at a multiple of 8
  return text;
}

/// Refuses to write what the reader would refuse: it reads the header that is to be written.
inline void SafetensorsWriter::check_readable(const std::string& source, const std::string& text) const {
  using moe::detail::fail_io, moe::detail::in_quotes;
  if (text.size() > moe::detail::longest_header)
    fail_io(source, ": the header needs ", text.size(), " bytes, more than ", moe::detail::longest_header);
  std::uint64_t data_bytes = 0;
  for (const auto& [name, tensor] : tensors_) {
    if (name == moe::detail::metadata_key) fail_io(source, ": a tensor must not be named ", in_quotes(name));
    data_bytes += tensor.bytes.size();
  }
  const auto header = moe::detail::parse_header(source, text, data_bytes);
  for (const auto& entry : tensors_)
    if (header.tensors.find(entry.first) == header.tensors.end())
      fail_io(source, ": the name of tensor ", in_quotes(entry.first), " is not valid UTF-8");
  if (header.metadata != metadata) fail_io(source, ": the metadata is not valid UTF-8");
}

inline void SafetensorsWriter::write(const std::filesystem::path& path) const {
  const auto order = in_file_order();
  const std::string text = header_text(order);
  check_readable(path.string(), text);
  moe::detail::AtomicFile file(path);
  file.write(std::bit_cast<std::array<std::byte, 8>>(static_cast<std::uint64_t>(text.size())));
  file.write(std::as_bytes(std::span(text)));
  for (const Entry* entry : order) file.write(entry->second.bytes);
  file.commit();
}

}  // namespace io

MOE_NAMESPACE_END
