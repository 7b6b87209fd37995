// The bytes of a GGUF file's header: what gguf_header.hpp and gguf_values.hpp read.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "moe/io/configuration.hpp"
#include "moe/io/gguf_header.hpp"
#include "moe/io/tensor_source.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Appends numbers and texts in little-endian order.
class GgufBytes {
 public:
  std::string text;

  template <class T>
  void number(T value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    text.append(bytes, sizeof value);
  }
  void string(std::string_view value) {
    number(static_cast<std::uint64_t>(value.size()));
    text += value;
  }
  void pad(std::uint64_t alignment) { text.resize((text.size() + alignment - 1) / alignment * alignment, '\0'); }

  /// A value of any type but an array. Throws io::FileError if it is not of the type.
  void value(std::string_view source, const std::string& name, io::GgufType type, const nlohmann::json& json) {
    using io::GgufType;
    const io::Configuration one{std::string(source), {{name, json}}};
    const auto as = [&]<class T>(T) { number(one.require<T>(name)); };
    switch (type) {
      case GgufType::u8:
        return as(std::uint8_t{});
      case GgufType::i8:
        return as(std::int8_t{});
      case GgufType::u16:
        return as(std::uint16_t{});
      case GgufType::i16:
        return as(std::int16_t{});
      case GgufType::u32:
        return as(std::uint32_t{});
      case GgufType::i32:
        return as(std::int32_t{});
      case GgufType::f32:
        return as(float{});
      case GgufType::boolean:
        return number(static_cast<std::uint8_t>(one.require<bool>(name)));
      case GgufType::text:
        return string(one.require<std::string>(name));
      case GgufType::array:
        fail_io(source, ": key ", in_quotes(name), " is an array of arrays");
      case GgufType::u64:
        return as(std::uint64_t{});
      case GgufType::i64:
        return as(std::int64_t{});
      case GgufType::f64:
        return as(double{});
    }
    fail_io(source, ": key ", in_quotes(name), " has the unknown type ", static_cast<std::uint32_t>(type));
  }

  void key(std::string_view source, const io::GgufKey& key) {
    if (key.name.empty() || key.name.find('\0') != std::string::npos)
      fail_io(source, ": ", in_quotes(key.name), " is no name of a key");
    string(key.name);
    number(static_cast<std::uint32_t>(key.type));
    if (key.type != io::GgufType::array) return value(source, key.name, key.type, key.value);
    if (!key.value.is_array()) fail_io(source, ": key ", in_quotes(key.name), " is no array");
    number(static_cast<std::uint32_t>(key.item_type));
    number(static_cast<std::uint64_t>(key.value.size()));
    for (const nlohmann::json& item : key.value) value(source, key.name, key.item_type, item);
  }
};

/// What `general.alignment` says, 32 without it. Throws io::FileError unless it is a power of two in a u32.
inline std::uint64_t gguf_alignment(std::string_view source, const std::vector<io::GgufKey>& keys) {
  const auto found = std::ranges::find(keys, "general.alignment", &io::GgufKey::name);
  if (found == keys.end()) return 32;
  const auto value = found->type == io::GgufType::u32 && found->value.is_number_unsigned()
                         ? found->value.get<std::uint64_t>()
                         : std::uint64_t{0};
  if (!std::has_single_bit(value) || value > 0x80000000u)
    fail_io(source, ": key 'general.alignment' is not a power of two in a u32");
  return value;
}

/// The header of version 3, padded, so that the data follows. Throws io::FileError for what ggml or the reader would
/// refuse.
inline std::string gguf_header_bytes(std::string_view source, const std::vector<io::GgufKey>& keys,
                                     const std::vector<io::TensorSource>& tensors) {
  constexpr std::size_t longest_name = 63;  // ggml's; the format's text allows one more
  const std::uint64_t alignment = gguf_alignment(source, keys);
  GgufBytes bytes;
  bytes.text = gguf_magic;
  bytes.number(std::uint32_t{3});
  bytes.number(static_cast<std::uint64_t>(tensors.size()));
  bytes.number(static_cast<std::uint64_t>(keys.size()));
  std::vector<std::string_view> names;
  for (const io::GgufKey& key : keys) {
    bytes.key(source, key);
    names.push_back(key.name);
  }
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end())
    fail_io(source, ": key ", in_quotes(*twice), " is given twice");
  std::uint64_t offset = 0;
  for (const io::TensorSource& tensor : tensors) {
    const auto refuse = [&](const auto&... parts) { fail_io(source, ": tensor ", in_quotes(tensor.name), parts...); };
    const auto type = io::gguf_number(tensor.format);
    if (!type) refuse(": GGUF has no type ", tensor.format.name);
    if (tensor.name.size() > longest_name) refuse(": its name is longer than ", longest_name, " bytes");
    if (tensor.shape.size() > 4) refuse(": ", to_string(tensor), " has more than 4 dimensions");
    bytes.string(tensor.name);
    bytes.number(static_cast<std::uint32_t>(tensor.shape.size()));
    for (std::size_t i = tensor.shape.size(); i-- > 0;) bytes.number(tensor.shape[i]);
    bytes.number(*type);
    bytes.number(offset);
    offset += (bytes_of(source, tensor) + alignment - 1) / alignment * alignment;
  }
  if (!tensors.empty()) bytes.pad(alignment);
  return std::move(bytes.text);
}

}  // namespace detail

MOE_NAMESPACE_END
