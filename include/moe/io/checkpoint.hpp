// A model's files, opened and not loaded: what tensors and settings they hold, and the numbers of each tensor by name.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/io/checkpoint_files.hpp"
#include "moe/io/checkpoint_tensor.hpp"
#include "moe/io/configuration.hpp"
#include "moe/io/mapped_bytes.hpp"
#include "moe/io/stored_tensor.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// A folder of Hugging Face's (config.json; model.safetensors, or the shards of model.safetensors.index.json), a single
/// safetensors file, or a GGUF file or the first of its split files. Every member is const and may be called by many
/// threads; copies share the open files. Every error is a FileError that names the file and the tensor.
class Checkpoint {
 public:
  /// Reads the headers of all files and checks them against the files' true sizes and against each other. Where a
  /// folder has model.safetensors, an index beside it is not looked at. A shard that is not there is an error when one
  /// of its tensors is wanted, a part of a split GGUF file at once, since nothing else tells its tensors.
  static Checkpoint open(const std::filesystem::path& path) {
    return {path.string(), moe::detail::open_checkpoint_files(path)};
  }

  /// Of files that are open, or of what is to be written. `path` is for messages.
  Checkpoint(std::string path, moe::detail::CheckpointFiles files) : path_(std::move(path)), files_(std::move(files)) {}

  // Of a temporary these would be gone before they are read.
  const std::string& path() const& { return path_; }
  std::string path() const&& { return path_; }
  bool is_gguf() const { return files_.is_gguf; }
  /// config.json (of a single file that beside it, if there is one), or the keys of a GGUF file; else empty.
  const Configuration& configuration() const& { return files_.configuration; }
  const Configuration& configuration() const&& = delete;
  /// The keys of a GGUF file in its order, with their types; of split files those of the first. Else empty.
  const std::vector<GgufKey>& gguf_keys() const& { return files_.keys; }
  std::vector<GgufKey> gguf_keys() const&& { return files_.keys; }
  /// "qwen3_moe": the setting model_type, or a GGUF file's general.architecture.
  std::optional<std::string> architecture() const {
    return files_.configuration.get<std::string>(is_gguf() ? "general.architecture" : "model_type");
  }

  /// The tensors that are there, in the order of the files and of the bytes in them.
  const std::vector<std::string>& names() const& { return files_.names; }
  std::vector<std::string> names() const&& { return files_.names; }
  /// The tensors of shards that are not there, and the shard of each.
  const std::map<std::string, std::string, std::less<>>& missing() const& { return files_.missing; }
  const std::map<std::string, std::string, std::less<>>& missing() const&& = delete;

  /// Whether the checkpoint has such a tensor, be its shard there or not.
  bool contains(std::string_view name) const {
    return files_.tensors.find(name) != files_.tensors.end() || files_.missing.find(name) != files_.missing.end();
  }

  const CheckpointTensor& tensor(std::string_view name) const& { return located(name).tensor; }
  CheckpointTensor tensor(std::string_view name) const&& { return located(name).tensor; }

  /// The bytes as stored, in any format.
  MappedBytes bytes(std::string_view name) const {
    const auto& [tensor, file] = located(name);
    return file->map(tensor.begin, tensor.bytes);
  }

  /// The numbers of a weight: a tensor of that name, with its block scales if there is a tensor `name`_scale_inv; or
  /// the tensors `name`_blocks and `name`_scales of mxfp4. An 8-bit float whose scales are stored in another way is
  /// refused.
  StoredTensor stored(std::string_view name) const;

 private:
  const moe::detail::CheckpointFiles::Located& located(std::string_view name) const {
    const auto found = files_.tensors.find(name);
    if (found != files_.tensors.end()) return found->second;
    const auto missing = files_.missing.find(name);
    if (missing != files_.missing.end())
      moe::detail::fail_io(path_, ": tensor ", moe::detail::in_quotes(name), " is in ",
                           moe::detail::in_quotes(missing->second), ", which is missing");
    moe::detail::fail_io(path_, ": no tensor ", moe::detail::in_quotes(name));
  }

  std::string path_;
  moe::detail::CheckpointFiles files_;
};

inline StoredTensor Checkpoint::stored(std::string_view name) const {
  const std::string text(name);
  const std::string blocks = text + "_blocks", scales = text + "_scales", block_scales = text + "_scale_inv";
  if (!contains(name) && contains(blocks) && contains(scales))
    return StoredTensor::of_mxfp4_pairs(path_, text, tensor(blocks), bytes(blocks), tensor(scales), bytes(scales));
  const CheckpointTensor& values = tensor(name);
  const auto dtype = values.format.dtype;
  const bool is_float8 = dtype == DType::F8_E4M3 || dtype == DType::F8_E5M2;
  if (contains(block_scales)) {
    const auto block = configuration()
                           .get<std::vector<std::uint64_t>>("quantization_config.weight_block_size")
                           .value_or(std::vector<std::uint64_t>{128, 128});
    if (!is_float8 || block.size() != 2)
      moe::detail::fail_io(path_, ": tensor ", moe::detail::in_quotes(name), " is ", to_string(values), " and has ",
                           moe::detail::in_quotes(block_scales),
                           ": block scales are of two dimensions, for 8-bit floats");
    return StoredTensor::with_block_scales(path_, values, bytes(name), tensor(block_scales), bytes(block_scales),
                                           {block[0], block[1]});
  }
  const std::string stem = text.substr(0, text.rfind('.'));
  for (const std::string& other : {text + "_scale", stem + ".scale"})
    if (is_float8 && contains(other))
      moe::detail::fail_io(path_, ": tensor ", moe::detail::in_quotes(name), " has scales in ",
                           moe::detail::in_quotes(other), ", which this reader does not know how to apply");
  return {path_, values, bytes(name)};
}

}  // namespace io

MOE_NAMESPACE_END
