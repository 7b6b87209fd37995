// Layers into checkpoints of other libraries: the inverse of read_layer, by the same families.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/io/checkpoint_writer.hpp"
#include "moe/io/layer_content.hpp"
#include "moe/io/layer_settings.hpp"
#include "moe/io/layer_tensors.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

struct WriteLayerOptions {
  /// Of the matrices of experts; the router and biases keep theirs. `as_stored`: that of the source, without one that
  /// of the layer's own numbers.
  NumberFormat format = NumberFormat::as_stored;
  /// Where the layer was read. Numbers that are still those of the source are written as its bytes, so that formats
  /// that are only read, such as Q4_K or 8-bit floats with scales, stay.
  std::shared_ptr<const StoredLayer> source = nullptr;
};

}  // namespace io

namespace detail {

inline const char* architecture_setting(const io::Family& family) {
  return family.is_gguf ? "general.architecture" : "model_type";
}

/// What a checkpoint of the family calls itself.
inline std::string architecture_of(const io::Family& family) {
  return family.architectures.empty() ? family.name : family.architectures.front();
}

/// The settings that a writer has until now.
inline nlohmann::json settings_of(const io::CheckpointWriter& writer, const io::Family& family) {
  return family.is_gguf ? object_of(writer.gguf_keys) : writer.configuration;
}

/// Puts them back. A new key of a GGUF file gets the usual type of its value.
inline void set_settings(io::CheckpointWriter& writer, const io::Family& family, nlohmann::json values) {
  using io::GgufType;
  if (!family.is_gguf) {
    writer.configuration = std::move(values);
    return;
  }
  for (io::GgufKey& key : writer.gguf_keys) {
    key.value = std::move(values[key.name]);
    values.erase(key.name);
  }
  for (const auto& [name, value] : values.items())
    writer.gguf_keys.push_back({.name = name,
                                .type = value.is_boolean()          ? GgufType::boolean
                                        : value.is_string()         ? GgufType::text
                                        : value.is_number_integer() ? GgufType::u32
                                                                    : GgufType::f32,
                                .value = value});
}

/// A checkpoint of such settings, to be read by Settings, with these tensors, none of which is written yet.
inline io::Checkpoint unwritten(const nlohmann::json& values, bool is_gguf,
                                const std::vector<io::TensorSource>& tensors) {
  CheckpointFiles files;
  files.is_gguf = is_gguf;
  files.configuration = {"the settings to be written", values};
  for (const io::TensorSource& tensor : tensors) files.missing.emplace(tensor.name, "");
  return {"the checkpoint to be written", std::move(files)};
}

/// Adds a layer's tensors and settings.
inline void add_layer(io::CheckpointWriter& writer, const LayerContent& content, const io::Family& family,
                      const std::string& name, const std::shared_ptr<const io::StoredLayer>& source, bool is_source,
                      io::NumberFormat format) {
  const auto refuse = [family = &family, name](const std::string& what) {
    fail_io("layer ", in_quotes(name), " does not fit into the family ", in_quotes(family->name), ": ", what);
  };
  auto tensors =
      LayerTensors::of(std::make_shared<const LayerTensors>(content, family, name, source, is_source, format));
  nlohmann::json values = settings_of(writer, family);
  const io::Configuration before{"settings", values};
  const auto architecture = before.get<std::string>(architecture_setting(family));
  const bool is_of_family = architecture && std::ranges::count(family.architectures, *architecture) > 0;
  if (!is_of_family) values[architecture_setting(family)] = architecture_of(family);
  std::optional<io::Checkpoint> planned;
  const auto read = [&] {
    return io::Settings(planned.emplace(unwritten(values, family.is_gguf, tensors)), family, name);
  };
  const nlohmann::json earlier = values;
  std::string difference = is_of_family && read().integer(io::Key::choices)
                               ? settings_difference(content, family, read())
                               : "not written yet";
  const bool is_written = !difference.empty();
  if (is_written) {
    write_settings(content, family, values, read);
    difference = settings_difference(content, family, read());
  }
  if (!difference.empty()) refuse(difference);
  const auto is_same = [](const nlohmann::json& a, const nlohmann::json& b) {
    return a == b || (!(a == a) && !(b == b));  // NaN
  };
  if (is_written && writer.has_layers())  // what holds for several layers
    for (const auto& [key, value] : values.items())
      if (!value.is_structured() && (!earlier.contains(key) || !is_same(earlier[key], value)))
        refuse(joined("setting ", in_quotes(key), " would become ", value.dump(), ", which earlier layers contradict"));
  writer.add_layer(std::move(tensors), [refuse, name, family = &family, content](const io::Checkpoint& written) {
    const io::StoredLayer read_back(written, name, *family);  // throws if tensors are too few or too many
    const std::string what = settings_difference(content, *family, io::Settings(written, *family, name));
    if (!what.empty()) refuse(what + "; one setting holds for all layers");
  });
  set_settings(writer, family, std::move(values));
}

}  // namespace detail

namespace io {

/// Adds a layer to a checkpoint that is to be written: its tensors, whose names begin with `name`, "model.layers.3" or
/// "blk.3", and its settings, in the writer's configuration or GGUF keys. L is what read_layer can read. Of several
/// ways in which the family keeps a part it is that of the source, or the first.
///
/// Layer and family must outlive the writer, which copies no numbers. Throws FileError, in words, for what the family
/// cannot hold: the settings are read back as the family reads them, and must give the same gate, form and sizes.
template <class L>
void write_layer(CheckpointWriter& writer, const L& layer, const Family& family, std::string_view name,
                 const WriteLayerOptions& options = {}) {
  moe::detail::add_layer(writer, moe::detail::ContentOfLayer<typename L::Scalar>::of(layer), family, std::string(name),
                         options.source, false, options.format);
}
template <class L>
void write_layer(CheckpointWriter&, const L&&, const Family&, std::string_view, const WriteLayerOptions& = {}) = delete;

}  // namespace io

MOE_NAMESPACE_END
