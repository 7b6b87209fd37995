// A checkpoint with its family, and its Mixture-of-Experts layers by number.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/io/checkpoint.hpp"
#include "moe/io/families.hpp"
#include "moe/io/layer_names.hpp"

namespace checkpoint {

using moe::Index;

struct Model {
  moe::io::Checkpoint files;
  const moe::io::Family* family;  ///< One of the table's.
  std::vector<std::string> layers = moe::io::layer_names(files, *family);
};

/// Throws std::invalid_argument if there is no such family.
inline const moe::io::Family& family_named(const std::string& name, bool is_gguf) {
  if (const moe::io::Family* const family = moe::io::find_family(name, is_gguf)) return *family;
  std::string known;
  for (const moe::io::Family& family : moe::io::families())
    if (family.is_gguf == is_gguf) known += (known.empty() ? "" : ", ") + family.name;
  throw std::invalid_argument("no family '" + name + "' of " + (is_gguf ? "GGUF" : "safetensors") +
                              " files is known; there are " + known);
}

/// `family` is the name of one, or empty: the one that the checkpoint names. Throws if there are no layers of it.
inline Model open_model(const std::string& path, const std::string& family = {}) {
  auto files = moe::io::Checkpoint::open(path);
  const moe::io::Family& own = family.empty() ? moe::io::family_of(files) : family_named(family, files.is_gguf());
  Model model{std::move(files), &own};
  if (model.layers.empty())
    throw std::invalid_argument("'" + path + "' has no Mixture-of-Experts layer of the family " + own.name);
  return model;
}

/// The bytes of all its tensors.
inline std::uint64_t bytes_of(const Model& model) {
  std::uint64_t bytes = 0;
  for (const std::string& name : model.files.names()) bytes += model.files.tensor(name).bytes;
  return bytes;
}

/// "model.layers.0, model.layers.1"; of many the first ones and the last.
inline std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i == 3 && names.size() > 5) {
      text += ", ...";
      i = names.size() - 1;
    }
    text += (i == 0 ? "" : ", ") + names[i];
  }
  return text;
}

/// The name of layer `number` of the model. Of an encoder and a decoder it is always the encoder's, unless `stack`, of
/// "encoder" and "decoder", says otherwise. Throws std::invalid_argument if it is no Mixture-of-Experts layer.
inline std::string layer_named(const Model& model, Index number, std::string_view stack = {}) {
  constexpr std::string_view place = "{n}", encoder = "encoder";
  bool has_stack = false;
  if (stack.empty() && std::ranges::any_of(model.family->layers, [&](const std::string& pattern) {
        return pattern.find(encoder) != pattern.npos;
      }))
    stack = encoder;
  for (const std::string& pattern : model.family->layers) {
    if (!stack.empty() && pattern.find(stack) == pattern.npos) continue;
    has_stack = true;
    std::string name = pattern;
    name.replace(name.find(place), place.size(), std::to_string(number));
    if (std::ranges::find(model.layers, name) != model.layers.end()) return name;
  }
  if (!has_stack)
    throw std::invalid_argument("models of the family " + model.family->name + " have no " + std::string(stack));
  throw std::invalid_argument(
      "layer " + std::to_string(number) + (stack.empty() ? "" : " of the " + std::string(stack)) +
      " is no Mixture-of-Experts layer; those of '" + model.files.path() + "' are " + listed(model.layers));
}

}  // namespace checkpoint
