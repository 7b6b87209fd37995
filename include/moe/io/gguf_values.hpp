// The values of a GGUF file's keys.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "moe/io/file_cursor.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// The types of values, by their numbers in the format.
enum class GgufType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, text, array, u64, i64, f64 };

/// A key of a GGUF file with its value: a number, a boolean, a text or an array of one of these.
struct GgufKey {
  std::string name;
  GgufType type = GgufType::u8;
  GgufType item_type = GgufType::u8;  ///< Of an array.
  nlohmann::json value;
};

}  // namespace io

namespace detail {

/// A boolean of one byte, which must be 0 or 1.
inline bool read_gguf_boolean(const InputFile& file, FileCursor& cursor, std::string_view what) {
  const auto byte = cursor.number<std::uint8_t>(what);
  if (byte > 1) fail_io(file.name(), ": ", what, " is neither true nor false: ", byte);
  return byte == 1;
}

/// A value of any type but an array.
inline nlohmann::json read_gguf_value(const InputFile& file, FileCursor& cursor, io::GgufType type,
                                      std::string_view what) {
  using io::GgufType;
  switch (type) {
    case GgufType::u8:
      return cursor.number<std::uint8_t>(what);
    case GgufType::i8:
      return cursor.number<std::int8_t>(what);
    case GgufType::u16:
      return cursor.number<std::uint16_t>(what);
    case GgufType::i16:
      return cursor.number<std::int16_t>(what);
    case GgufType::u32:
      return cursor.number<std::uint32_t>(what);
    case GgufType::i32:
      return cursor.number<std::int32_t>(what);
    case GgufType::f32:
      return cursor.number<float>(what);
    case GgufType::boolean:
      return read_gguf_boolean(file, cursor, what);
    case GgufType::text:
      return cursor.text(what);
    case GgufType::array:
      fail_io(file.name(), ": ", what, " is an array of arrays, which this reader does not read");
    case GgufType::u64:
      return cursor.number<std::uint64_t>(what);
    case GgufType::i64:
      return cursor.number<std::int64_t>(what);
    case GgufType::f64:
      return cursor.number<double>(what);
  }
  fail_io(file.name(), ": ", what, " has the unknown type ", static_cast<std::uint32_t>(type));
}

/// A key with its value. The array of a hostile length ends with the file: it grows item by item.
inline io::GgufKey read_gguf_key(const InputFile& file, FileCursor& cursor) {
  constexpr std::size_t longest_name = 65535;
  io::GgufKey key;
  key.name = cursor.text("a key");
  if (key.name.empty()) fail_io(file.name(), ": a key has no name");
  const std::string what = "key " + in_quotes(key.name);
  if (key.name.size() > longest_name) fail_io(file.name(), ": ", what, " is longer than ", longest_name, " bytes");
  if (key.name.find('\0') != std::string::npos) fail_io(file.name(), ": ", what, " contains a NUL byte");
  key.type = static_cast<io::GgufType>(cursor.number<std::uint32_t>(what));
  if (key.type != io::GgufType::array) {
    key.value = read_gguf_value(file, cursor, key.type, what);
    return key;
  }
  key.item_type = static_cast<io::GgufType>(cursor.number<std::uint32_t>(what));
  if (key.item_type == io::GgufType::array || key.item_type > io::GgufType::f64)
    read_gguf_value(file, cursor, key.item_type, what);  // throws, also for an empty array
  const auto count = cursor.number<std::uint64_t>(what);
  if (count > cursor.left())  // an item has a byte at least
    fail_io(file.name(), ": ", what, " ends beyond the end of the file: ", count, " items with ", cursor.left(),
            " bytes left");
  key.value = nlohmann::json::array();
  for (std::uint64_t i = 0; i < count; ++i) key.value.push_back(read_gguf_value(file, cursor, key.item_type, what));
  return key;
}

}  // namespace detail

MOE_NAMESPACE_END
