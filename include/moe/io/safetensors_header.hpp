// The header of a safetensors file: its JSON text, read strictly, and the layout of the tensors that it declares.
//
// Format: 8 bytes little-endian header length N; N bytes of UTF-8 JSON, an object; then the data. Each entry is
//   name -> {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, offsets counted from the data's begin;
// `__metadata__` maps strings to strings. The tensors cover the data completely, without holes or overlap.
//
// Where the format's text is silent, or its reference implementation is milder than the text, this reader decides so:
//   accepted   JSON whitespace before the `{`; fields of an entry that it does not know; an empty name
//   refused    a key given twice in any object, also within `__metadata__`; null for `__metadata__`; an entry given as
//              an array; a NUL byte in a name; a name that is an absolute path or has a `..` component; a rank above
//              64; a product of dimensions that overflows, even before a dimension of zero
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "moe/io/file_error.hpp"
#include "moe/io/input_file.hpp"
#include "moe/io/safetensors_header_builder.hpp"
#include "moe/io/tensor_info.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr std::uint64_t longest_header = 100'000'000;

/// Puts the names in the order of their bytes and refuses every layout but a gapless one of data_bytes bytes.
inline void check_layout(std::string_view source, SafetensorsHeader& header, std::uint64_t data_bytes) {
  std::vector<const std::pair<const std::string, io::TensorInfo>*> order;
  order.reserve(header.tensors.size());
  for (const auto& entry : header.tensors) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::tie(a->second.begin, a->second.end, a->first) < std::tie(b->second.begin, b->second.end, b->first);
  });
  std::uint64_t covered = 0;
  for (const auto* entry : order) {
    const std::string& name = entry->first;
    const io::TensorInfo& info = entry->second;
    const std::uint64_t needed = checked_bytes(source, name, info);
    const auto refuse = [&](std::string_view reason) {
      fail_io(source, ": tensor ", in_quotes(name), ": field 'data_offsets' is [", info.begin, ", ", info.end, "], ",
              reason, " (", to_string(info), " needs ", needed, " bytes, the data has ", data_bytes, ")");
    };
    if (info.end < info.begin) refuse("which ends before it begins");
    if (info.end > data_bytes) refuse("which lies beyond the end of the file");
    if (info.begin != covered) refuse(info.begin < covered ? "which overlaps another tensor" : "which leaves a hole");
    if (info.bytes() != needed) refuse("which does not fit dtype and shape");
    covered = info.end;
    header.names.push_back(name);
  }
  if (covered != data_bytes)
    fail_io(source, ": ", data_bytes - covered, " bytes after the last tensor belong to no tensor");
}

/// Reads the header's text and checks everything in it against the size of the data that follows.
/// Throws io::FileError, its message beginning with `source`.
inline SafetensorsHeader parse_header(std::string_view source, std::string_view text, std::uint64_t data_bytes) {
  // Looked at before the parser does: it would skip a byte order mark, and take a NUL byte for the end.
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{')
    fail_io(source, ": not a safetensors file: the header does not begin with '{'");
  if (text.find('\0') != std::string_view::npos) fail_io(source, ": the header contains a NUL byte");
  SafetensorsHeader header;
  SafetensorsHeaderBuilder builder(source, header);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  check_layout(source, header, data_bytes);
  return header;
}

/// Reads and checks the header of a file. Nothing is allocated by a number that the file declares before that number
/// was compared with the file's size.
inline SafetensorsHeader read_safetensors_header(const InputFile& file) {
  std::array<std::byte, 8> prefix{};
  if (file.size() < prefix.size())
    fail_io(file.name(), ": not a safetensors file: too short for a header: ", file.size(), " bytes");
  file.read(0, prefix);
  const auto length = std::bit_cast<std::uint64_t>(prefix);
  if (length > longest_header) {
    std::string begin;
    for (const std::byte b : prefix) begin += b < std::byte{0x80} ? static_cast<char>(b) : '?';
    fail_io(file.name(), ": not a safetensors file: it begins with ", in_quotes(begin), "; as the length of a header, ",
            length, " bytes, that exceeds ", longest_header);
  }
  if (length > file.size() - prefix.size())
    fail_io(file.name(), ": cut short, or not a safetensors file: the header's length of ", length,
            " bytes lies beyond the end of the file, which has ", file.size());
  std::string text(static_cast<std::size_t>(length), '\0');
  file.read(prefix.size(), std::as_writable_bytes(std::span(text)));
  const std::uint64_t data_begin = prefix.size() + length;
  SafetensorsHeader header = parse_header(file.name(), text, file.size() - data_begin);
  header.data_begin = data_begin;
  return header;
}

}  // namespace detail

MOE_NAMESPACE_END
