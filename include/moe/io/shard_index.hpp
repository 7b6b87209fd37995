// model.safetensors.index.json: which tensor of a checkpoint lies in which of its files.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "moe/io/json_file.hpp"
#include "moe/io/tensor_info.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Why a shard must not bear this name, or nothing: it must be a safetensors file of the index's own folder.
inline std::optional<std::string_view> fault_of_shard_name(std::string_view name) {
  if (name.find_first_of(std::string_view("/\\:\0", 4)) != std::string_view::npos)
    return "is not the name of a file in the checkpoint's folder";
  if (!name.ends_with(".safetensors")) return "is not the name of a safetensors file";
  return std::nullopt;
}

/// The file of each tensor. Throws io::FileError if the index is malformed, names a tensor twice or a file that lies
/// elsewhere.
inline std::map<std::string, std::string, std::less<>> read_shard_index(const std::filesystem::path& path) {
  const nlohmann::json json = read_json_file(path);
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object()) fail_io(path.string(), ": no object 'weight_map'");
  std::map<std::string, std::string, std::less<>> files;
  for (const auto& [tensor, file] : map->items()) {
    if (const auto fault = fault_of_name(tensor))
      fail_io(path.string(), ": the name of tensor ", in_quotes(tensor), " ", *fault);
    if (!file.is_string()) fail_io(path.string(), ": tensor ", in_quotes(tensor), ": its file is not a text");
    const auto& name = file.template get_ref<const std::string&>();
    if (const auto fault = fault_of_shard_name(name))
      fail_io(path.string(), ": tensor ", in_quotes(tensor), ": ", in_quotes(name), " ", *fault);
    files.emplace(tensor, name);
  }
  return files;
}

}  // namespace detail

MOE_NAMESPACE_END
