// A whole checkpoint into another one: of another family, in other formats, with changed layers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/io/any_layer.hpp"
#include "moe/io/checkpoint.hpp"
#include "moe/io/checkpoint_writer.hpp"
#include "moe/io/families.hpp"
#include "moe/io/layer_names.hpp"
#include "moe/io/write_layer.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

template <class S = float>
struct ConvertOptions {
  NumberFormat format = NumberFormat::as_stored;  ///< Of the experts' matrices; see WriteLayerOptions.
  std::uint64_t shard_size = 0;                   ///< Of a folder, in bytes; 0: one file.
  std::function<void(std::uint64_t done, std::uint64_t all)> progress = {};  ///< Bytes written.

  /// Changes a layer, of the name that it has in `from`: prunes it, merges, takes trained weights. It is called at
  /// least twice for each layer, first for sizes and settings, then for numbers, and must do the same each time. All
  /// layers must have as many experts and choices in the end.
  std::function<void(AnyLayer<S>& layer, const std::string& name)> change = {};

  /// What tensors that are no parts of such layers are called in the new checkpoint; an empty text leaves one out.
  /// Without it they keep their names, but for the beginning of a layer's.
  std::function<std::string(const std::string& name)> rename = {};

  const Family* family = nullptr;  ///< Of `from`, if it is one of your own.
};

}  // namespace io

namespace detail {

/// The name of a layer, or of something in it, as another family calls it: its beginning, up to the number, is
/// replaced.
inline std::string renamed_layer(const std::string& name, const io::Family& from, const io::Family& to) {
  for (std::size_t i = 0; i < from.layers.size() && !to.layers.empty(); ++i) {
    const std::string before = from.layers[i].substr(0, from.layers[i].find("{n}"));
    const std::string after = from.layers[i].substr((std::min)(before.size() + 3, from.layers[i].size()));
    if (!name.starts_with(before)) continue;
    const std::size_t end = (std::min)(name.find_first_not_of("0123456789", before.size()), name.size());
    if (end == before.size() || !name.substr(end).starts_with(after)) continue;
    const std::string number = name.substr(before.size(), end - before.size());
    return replaced(to.layers[(std::min)(i, to.layers.size() - 1)], "{n}", number) + name.substr(end + after.size());
  }
  return name;
}

/// The settings with which a converted checkpoint begins: those of the source, without what its own family says in
/// other words.
inline void copy_settings(io::CheckpointWriter& writer, const io::Checkpoint& from, const io::Family& source,
                          const io::Family& to) {
  const auto architecture = from.architecture();
  const bool is_same = architecture && std::ranges::count(to.architectures, *architecture) > 0;
  if (to.is_gguf && from.is_gguf()) {
    const std::string begin = architecture.value_or("") + ".";
    for (io::GgufKey key : from.gguf_keys()) {
      if (key.name.starts_with("split.")) continue;
      if (!is_same && key.name == "general.architecture") key.value = architecture_of(to);
      if (!is_same && key.name.starts_with(begin)) key.name = architecture_of(to) + "." + key.name.substr(begin.size());
      writer.gguf_keys.push_back(std::move(key));
    }
  } else if (to.is_gguf) {
    writer.gguf_keys = {{.name = "general.architecture", .type = io::GgufType::text, .value = architecture_of(to)}};
  } else if (!from.is_gguf()) {
    nlohmann::json& values = writer.configuration = from.configuration().values();
    if (is_same) return;
    std::set<std::string> kept;
    for (const io::Setting& setting : to.settings) kept.insert(setting.names.begin(), setting.names.end());
    values.erase("architectures");  // classes of Python
    for (const io::Setting& setting : source.settings)
      for (const std::string& name : setting.names) {
        if (kept.contains(name)) continue;
        erase_setting(values, name);
        erase_setting(values, "text_config." + name);
      }
    if (const auto text = values.find("text_config");
        text != values.end() && text->is_object() && text->contains("model_type"))
      (*text)["model_type"] = architecture_of(to);
  }
}

/// A description of how weights are quantised, of which none is left, is taken out.
inline void drop_stale_quantization(io::CheckpointWriter& writer) {
  const auto is_quantized = [](const io::TensorSource& tensor) {
    return tensor.format.dtype == io::DType::F8_E4M3 || tensor.format.dtype == io::DType::F8_E5M2 ||
           (tensor.format.dtype == io::DType::U8 && tensor.name.ends_with("_blocks"));
  };
  const io::Configuration configuration{"config.json", writer.configuration};
  const auto method = configuration.get<std::string>("quantization_config.quant_method");
  if ((method == "fp8" || method == "mxfp4") && std::ranges::none_of(writer.tensors(), is_quantized))
    writer.configuration.erase("quantization_config");
}

/// The layer that was read and changed last: its tensors are written one after the other.
template <class S>
class ChangedLayer {
 public:
  explicit ChangedLayer(std::function<void(io::AnyLayer<S>&, const std::string&)> change)
      : change_(std::move(change)) {}

  const io::AnyLayer<S>& of(const io::StoredLayer& stored) {
    if (!layer_ || name_ != stored.name()) {
      layer_.reset();
      layer_ = io::read_layer<io::AnyLayer<S>>(stored);
      name_ = stored.name();
      change_(*layer_, name_);
      layer_->check();
    }
    return *layer_;
  }

  /// Of which only sizes and settings are kept.
  static LayerContent content(const std::shared_ptr<ChangedLayer>& self,
                              const std::shared_ptr<const io::StoredLayer>& stored) {
    LayerContent content = ContentOfLayer<S>::of(self->of(*stored));
    content.numbers = [self, stored](io::Part part, Index expert) {
      return ContentOfLayer<S>::of(self->of(*stored)).numbers(part, expert);
    };
    return content;
  }

 private:
  std::function<void(io::AnyLayer<S>&, const std::string&)> change_;
  std::string name_;
  std::optional<io::AnyLayer<S>> layer_;
};

}  // namespace detail

namespace io {

/// Writes a checkpoint anew: its Mixture-of-Experts layers as the family `to` keeps them, all other tensors and
/// settings as they are. `path` is a folder, for a family of GGUF a file. The same family changes formats, shards or
/// layers; another one must hold what the layers are, or is refused in words.
///   convert(from, "Qwen3-as-Mixtral", *find_family("mixtral"), {.format = NumberFormat::bf16});
///   convert(from, "Qwen3-pruned", family_of(from), {.change = [](AnyLayer<float>& layer, const std::string&) {
///     moe::prune(...);
///   }});
/// Between safetensors and GGUF, whose other tensors have other names and whose other settings are not known,
/// options.rename must say what they are called.
///
/// In memory there is one matrix of an expert at a time, with `change` one layer, in S: float, or double for files in
/// F64. Throws FileError and leaves what is at `path` as it was. `from` may lie at the same path.
template <class S = float>
void convert(const Checkpoint& from, const std::filesystem::path& path, const Family& to,
             const ConvertOptions<S>& options = {}) {
  using moe::detail::in_quotes;
  if (!from.missing().empty())
    moe::detail::fail_io(from.path(), ": ", in_quotes(from.missing().begin()->second), " is missing");
  const Family& source = options.family != nullptr ? *options.family : family_of(from);
  CheckpointWriter writer;
  moe::detail::copy_settings(writer, from, source, to);
  const auto changed = std::make_shared<moe::detail::ChangedLayer<S>>(options.change);
  std::map<std::string, std::shared_ptr<const StoredLayer>> layer_of;  // by its tensors
  for (const std::string& name : layer_names(from, source)) {
    const auto stored = std::make_shared<const StoredLayer>(from, name, source);
    for (const std::string& tensor : stored->used()) layer_of.emplace(tensor, stored);
  }
  std::set<const StoredLayer*> written;
  for (const std::string& name : from.names()) {
    if (const auto found = layer_of.find(name); found != layer_of.end()) {
      const auto& stored = found->second;
      if (!written.insert(stored.get()).second) continue;
      const auto content =
          options.change ? moe::detail::ChangedLayer<S>::content(changed, stored) : moe::detail::content_of(stored);
      moe::detail::add_layer(writer, content, to, moe::detail::renamed_layer(stored->name(), source, to), stored,
                             !options.change, options.format);
      continue;
    }
    if (!options.rename && from.is_gguf() != to.is_gguf)
      moe::detail::fail_io(from.path(), ": tensor ", in_quotes(name), " is no part of a layer of experts, and nothing ",
                           "tells what it is called in the other format: set ConvertOptions::rename");
    const std::string renamed = options.rename ? options.rename(name) : moe::detail::renamed_layer(name, source, to);
    if (renamed.empty()) continue;
    const CheckpointTensor& tensor = from.tensor(name);
    writer.add({renamed, tensor.format, tensor.shape, [&from, name](const ByteSink& sink) {
                  const MappedBytes bytes = from.bytes(name);
                  sink(bytes.bytes());
                }});
  }
  if (written.empty())
    moe::detail::fail_io(from.path(), ": no layer of the family ", in_quotes(source.name), " is in it");
  if (!to.is_gguf) moe::detail::drop_stale_quantization(writer);
  const WriteOptions how{.shard_size = options.shard_size, .progress = options.progress};
  if (to.is_gguf)
    writer.write_gguf(path, how);
  else
    writer.write_folder(path, how);
}

}  // namespace io

MOE_NAMESPACE_END
