// The header of a safetensors file that is to be written: its JSON text.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/io/safetensors_header.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A tensor in the order of the file; where its bytes lie follows from dtypes and shapes.
using NamedTensor = std::pair<std::string, io::TensorInfo>;

/// The text, padded so that the data begins at a multiple of 8. Throws io::FileError, which begins with `source`, for
/// what the reader would refuse: it reads the text. No two tensors may have one name.
inline std::string safetensors_text(std::string_view source, const std::vector<NamedTensor>& tensors,
                                    const std::map<std::string, std::string>& metadata) {
  // Of JSON values only strings are made: the destructor of an array or object allocates, and must not fail. Bytes that
  // are no UTF-8 are left out here and found missing below.
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
    append_entry(text, std::string(metadata_key), pairs + "}");
  }
  std::uint64_t begin = 0;
  for (const auto& [name, info] : tensors) {
    if (name == metadata_key) fail_io(source, ": a tensor must not be named ", in_quotes(name));
    const std::uint64_t end = begin + checked_bytes(source, name, info);
    std::string shape;
    for (const std::uint64_t dimension : info.shape) shape += (shape.empty() ? "" : ",") + std::to_string(dimension);
    append_entry(text, name,
                 "{\"dtype\":\"" + std::string(io::dtype_name(info.dtype)) + "\",\"shape\":[" + shape +
                     "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}");
    begin = end;
  }
  text += text.empty() ? "{}" : "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > longest_header)
    fail_io(source, ": the header needs ", text.size(), " bytes, more than ", longest_header);
  const SafetensorsHeader header = parse_header(source, text, begin);
  for (const auto& [name, info] : tensors)
    if (header.tensors.find(name) == header.tensors.end())
      fail_io(source, ": the name of tensor ", in_quotes(name), " is not valid UTF-8");
  if (header.metadata != metadata) fail_io(source, ": the metadata is not valid UTF-8");
  return text;
}

}  // namespace detail

MOE_NAMESPACE_END
