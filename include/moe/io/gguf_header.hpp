// The header of a GGUF file: its keys, and the layout of the tensors that it declares.
//
// Format, little-endian: "GGUF"; version; numbers of tensors and keys; the keys; per tensor its name, dimensions
// (fastest first), type and offset in the data; padding; the data, each tensor padded to `general.alignment`, 32
// without it.
//
// Where the format's text and its reference implementation differ or leave a choice, this reader decides so:
//   accepted   version 2; empty names and dimensions of 0; no dimension (a scalar); names of 64 bytes; bytes behind the
//              last tensor, or no padding there
//   refused    arrays of arrays; booleans other than 0 and 1; an alignment that is not a power of two in a u32; tensors
//              out of order or with gaps; a product of dimensions that overflows; a NUL byte in a name, and a name that
//              is an absolute path or has a `..` component
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/io/checkpoint_tensor.hpp"
#include "moe/io/file_cursor.hpp"
#include "moe/io/gguf_values.hpp"
#include "moe/io/tensor_info.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

struct GgufHeader {
  std::vector<io::GgufKey> keys;              // in the order of the file
  std::vector<io::CheckpointTensor> tensors;  // the same; their `file` is not set
};

inline constexpr std::string_view gguf_magic = "GGUF";

/// A tensor's description, of which `begin` is the offset in the data.
inline io::CheckpointTensor read_gguf_tensor(const InputFile& file, FileCursor& cursor) {
  constexpr std::size_t longest_name = 64;
  constexpr std::uint32_t highest_dimensions = 4;
  io::CheckpointTensor tensor;
  tensor.name = cursor.text("the name of a tensor");
  const std::string what = "tensor " + in_quotes(tensor.name);
  const auto refuse = [&](const auto&... parts) { fail_io(file.name(), ": ", what, parts...); };
  if (tensor.name.size() > longest_name) refuse(": its name is longer than ", longest_name, " bytes");
  if (const auto fault = fault_of_name(tensor.name)) refuse(": its name ", *fault);
  const auto dimensions = cursor.number<std::uint32_t>(what);
  if (dimensions > highest_dimensions) refuse(" has ", dimensions, " dimensions, more than ", highest_dimensions);
  for (std::uint32_t i = 0; i < dimensions; ++i) tensor.shape.push_back(cursor.number<std::uint64_t>(what));
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  const auto type = cursor.number<std::uint32_t>(what);
  const auto format = io::gguf_format(type);
  if (!format) refuse(" has the unknown type ", type);
  tensor.format = *format;
  for (const std::uint64_t dimension : tensor.shape)
    if (dimension >> 63 != 0) refuse(": a dimension is negative: ", to_string(tensor));
  if (tensor.cols() % format->elements != 0)
    refuse(": rows of ", tensor.cols(), " numbers are not whole blocks of ", format->elements, " (", format->name, ")");
  const auto bytes = checked_product(tensor.shape, format->bytes);
  if (!bytes) refuse(": the product of its dimensions overflows: ", to_string(tensor));
  tensor.bytes = *bytes / format->elements;
  tensor.begin = cursor.number<std::uint64_t>(what);
  return tensor;
}

inline std::uint32_t gguf_alignment(const InputFile& file, const io::GgufKey& key) {
  const std::uint32_t value = key.type == io::GgufType::u32 ? key.value.get<std::uint32_t>() : 0;
  if (!std::has_single_bit(value))
    fail_io(file.name(), ": key 'general.alignment' is not a power of two in a u32: ",
            key.value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 40));
  return value;
}

/// Turns offsets into places in the file and refuses every layout but the one of padded tensors in their order.
inline void place_gguf_tensors(const InputFile& file, GgufHeader& header, std::uint64_t described,
                               std::uint64_t alignment) {
  const auto padded = [alignment](std::uint64_t bytes) { return bytes + (alignment - bytes % alignment) % alignment; };
  std::uint64_t begin = padded(described), expected = 0;
  for (io::CheckpointTensor& tensor : header.tensors) {
    const auto refuse = [&](const auto&... parts) {
      fail_io(file.name(), ": tensor ", in_quotes(tensor.name), ": offset ", tensor.begin, parts...);
    };
    if (tensor.begin % alignment != 0) refuse(" is not a multiple of the alignment, ", alignment);
    if (tensor.begin != expected) refuse(", where the tensors before it end at ", expected);
    // No sum overflows: both are at most the file's size and paddings of less than 2^32.
    if (tensor.bytes != 0 && (begin + expected > file.size() || tensor.bytes > file.size() - begin - expected))
      refuse(": its ", tensor.bytes, " bytes end beyond the end of the file, which has ", file.size());
    tensor.begin = begin + expected;
    expected = padded(expected + tensor.bytes);
  }
}

/// Reads and checks the header of a file: a file whose header this returns has all bytes of its tensors. Nothing is
/// allocated by a number that the file declares before that number was compared with the file's size.
inline GgufHeader read_gguf_header(const InputFile& file) {
  FileCursor cursor(file);
  for (const char c : gguf_magic)
    if (cursor.number<char>("the magic number") != c) fail_io(file.name(), ": not a GGUF file");
  const auto version = cursor.number<std::uint32_t>("the version");
  if (version == 0x02000000 || version == 0x03000000)
    fail_io(file.name(), ": a big-endian GGUF file, which this reader does not read");
  if (version != 2 && version != 3) fail_io(file.name(), ": version ", version, " of GGUF; 2 and 3 are read");
  const auto tensors = cursor.number<std::uint64_t>("the number of tensors");
  const auto keys = cursor.number<std::uint64_t>("the number of keys");

  GgufHeader header;
  std::uint32_t alignment = 32;
  std::set<std::string, std::less<>> names;
  for (std::uint64_t i = 0; i < keys; ++i) {
    header.keys.push_back(read_gguf_key(file, cursor));
    const io::GgufKey& key = header.keys.back();
    if (!names.insert(key.name).second) fail_io(file.name(), ": key ", in_quotes(key.name), " is given twice");
    if (key.name == "general.alignment") alignment = gguf_alignment(file, key);
  }
  names.clear();
  for (std::uint64_t i = 0; i < tensors; ++i) {
    header.tensors.push_back(read_gguf_tensor(file, cursor));
    const std::string& name = header.tensors.back().name;
    if (!names.insert(name).second) fail_io(file.name(), ": tensor ", in_quotes(name), " is given twice");
  }
  place_gguf_tensors(file, header, cursor.position(), alignment);
  return header;
}

}  // namespace detail

MOE_NAMESPACE_END
