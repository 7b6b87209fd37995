// What tensors that are no part of an expert layer are called in safetensors and in GGUF files, where it is plainly
// known.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "moe/io/family.hpp"

namespace checkpoint {

/// Names without the ".weight" or ".bias" behind them. {n} is the number of a layer, {model} what stands before
/// "layers.{n}" in the names of the family: "model.".
struct CommonName {
  std::string_view transformers, gguf;
  std::array<std::string_view, 4> families = {};  ///< The GGUF families that have it; all, if none is named.
};

/// The first that fits is taken.
inline constexpr auto common_names = std::to_array<CommonName>({
    {"{model}embed_tokens", "token_embd"},
    {"{model}norm", "output_norm"},
    {"lm_head", "output"},
    {"language_model.lm_head", "output"},
    {"{model}layers.{n}.input_layernorm", "blk.{n}.attn_norm"},
    {"{model}layers.{n}.post_attention_layernorm",
     "blk.{n}.post_attention_norm",
     {"gpt-oss", "glm4moe", "qwen3next", "qwen35moe"}},
    {"{model}layers.{n}.post_attention_layernorm", "blk.{n}.ffn_norm"},
    {"{model}layers.{n}.self_attn.q_proj", "blk.{n}.attn_q"},
    {"{model}layers.{n}.self_attn.k_proj", "blk.{n}.attn_k"},
    {"{model}layers.{n}.self_attn.v_proj", "blk.{n}.attn_v"},
    {"{model}layers.{n}.self_attn.o_proj", "blk.{n}.attn_output"},
    {"{model}layers.{n}.self_attn.q_norm", "blk.{n}.attn_q_norm"},
    {"{model}layers.{n}.self_attn.k_norm", "blk.{n}.attn_k_norm"},
});

/// The text with what stands for a placeholder, if it has it.
inline std::string filled(std::string_view text, std::string_view placeholder, std::string_view value) {
  std::string result(text);
  if (const std::size_t at = result.find(placeholder); at != result.npos) result.replace(at, placeholder.size(), value);
  return result;
}

/// The number for which a pattern with {n} is the name; of a pattern without {n} an empty text. Nothing if it is
/// another name.
inline std::optional<std::string> number_in(std::string_view name, std::string_view pattern) {
  constexpr std::string_view place = "{n}";
  const std::size_t at = pattern.find(place);
  if (at == pattern.npos) return name == pattern ? std::optional(std::string()) : std::nullopt;
  const std::string_view before = pattern.substr(0, at), after = pattern.substr(at + place.size());
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after)) return {};
  const std::string_view number = name.substr(before.size(), name.size() - before.size() - after.size());
  if (number.find_first_not_of("0123456789") != number.npos) return {};
  return std::string(number);
}

/// What a tensor of the family `from` is called in `to`, of which one is a family of GGUF files; nothing if that is not
/// known.
inline std::optional<std::string> common_name(std::string_view name, const moe::io::Family& from,
                                              const moe::io::Family& to) {
  const std::string_view ending = name.ends_with(".bias") ? ".bias" : ".weight";
  if (!name.ends_with(ending)) return {};
  name.remove_suffix(ending.size());
  const moe::io::Family& gguf = to.is_gguf ? to : from;
  for (const CommonName& row : common_names) {
    if (!row.families.front().empty() && std::ranges::find(row.families, gguf.name) == row.families.end()) continue;
    for (const std::string& layer : (to.is_gguf ? from : to).layers) {
      const std::size_t model = layer.find("layers.{n}");
      if (model == layer.npos) continue;
      const std::string transformers = filled(row.transformers, "{model}", layer.substr(0, model));
      const std::string own(to.is_gguf ? transformers : row.gguf), other(to.is_gguf ? row.gguf : transformers);
      if (const auto number = number_in(name, own)) return filled(other, "{n}", *number).append(ending);
    }
  }
  return {};
}

}  // namespace checkpoint
