// The families of GGUF files, one entry for each architecture: tensors and keys have the same names in all, so an entry
// tells what the architecture implies and no key says.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/io/family.hpp"
#include "moe/io/family_gates.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// `normalize` and `scores` hold where the file has no key for them.
inline io::Family gguf_family(const std::string& architecture, bool normalize, double scores = 1) {
  using io::Key, io::Part, io::Slot, io::Outputs;
  std::vector<Slot> slots{{Part::router, "ffn_gate_inp.weight"},
                          {Part::gate, "ffn_gate_exps.weight"},
                          {Part::up, "ffn_up_exps.weight"},
                          {Part::down, "ffn_down_exps.weight"},
                          {Part::gate, "ffn_gate_up_exps.weight", Outputs::first_half},
                          {Part::up, "ffn_gate_up_exps.weight", Outputs::second_half},
                          {Part::gate, "ffn_gate.{e}.weight"},  // files of before 2024-04
                          {Part::up, "ffn_up.{e}.weight"},
                          {Part::down, "ffn_down.{e}.weight"}};
  for (auto [part, name] : std::vector<std::pair<Part, std::string>>{{Part::router_bias, "ffn_gate_inp.bias"},
                                                                     {Part::selection_bias, "exp_probs_b.bias"},
                                                                     {Part::gate_bias, "ffn_gate_exps.bias"},
                                                                     {Part::up_bias, "ffn_up_exps.bias"},
                                                                     {Part::down_bias, "ffn_down_exps.bias"},
                                                                     {Part::shared_gate, "ffn_gate_shexp.weight"},
                                                                     {Part::shared_up, "ffn_up_shexp.weight"},
                                                                     {Part::shared_down, "ffn_down_shexp.weight"},
                                                                     {Part::shared_mix, "ffn_gate_inp_shexp.weight"}})
    slots.push_back({.part = part, .tensor = name, .optional = true, .rank = part == Part::shared_mix ? 1u : 0u});
  return {.name = architecture,
          .architectures = {architecture},
          .is_gguf = true,
          .layers = {"blk.{n}"},
          .scope = {"ffn_", "exp_probs_b"},
          .slots = slots,
          .settings = {{Key::experts, {"{arch}.expert_count"}},
                       {Key::choices, {"{arch}.expert_used_count"}},
                       {Key::width, {"{arch}.embedding_length"}},
                       {Key::hidden, {"{arch}.expert_feed_forward_length"}},
                       {Key::shared_hidden, {"{arch}.expert_shared_feed_forward_length"}},
                       {Key::groups, {"{arch}.expert_group_count"}},
                       {Key::groups_used, {"{arch}.expert_group_used_count"}},
                       {Key::scale, {"{arch}.expert_weights_scale"}},
                       {Key::normalize, {"{arch}.expert_weights_norm"}, normalize},
                       {Key::scores, {"{arch}.expert_gating_func"}, scores}},
          .gate = gguf_gate,
          .ignored = {"ffn_norm*", "ffn_*_norm*", "ffn_post_norm*", "ffn_pre_norm*"}};
}

}  // namespace detail

namespace io {

/// As llama.cpp reads them.
inline std::vector<Family> gguf_families() {
  using moe::detail::gguf_family;
  constexpr bool divided = true;
  constexpr double softmax = 1, sigmoid = 2, softmax_of_chosen = 3;
  std::vector<Family> all;
  for (const char* name : {"llama", "qwen3moe", "qwen3vlmoe", "qwen3next", "qwen35moe", "dbrx", "grok", "granitemoe",
                           "hunyuan-moe", "phimoe", "ernie4_5-moe", "minimax-text-01"})
    all.push_back(gguf_family(name, divided, softmax));
  for (const char* name : {"qwen2moe", "olmoe", "deepseek", "deepseek2"})
    all.push_back(gguf_family(name, !divided, softmax));
  for (const char* name : {"glm4moe", "dots1", "bailingmoe2", "minimax-m2"})
    all.push_back(gguf_family(name, divided, sigmoid));
  all.push_back(gguf_family("gpt-oss", divided, softmax_of_chosen));
  all.back().form = moe::detail::gpt_oss_form;
  all.push_back(gguf_family("llama4", !divided, sigmoid));
  all.back().gate = moe::detail::sigmoid_gate;
  all.back().dispatching = moe::detail::weigh_input;
  return all;
}

}  // namespace io

MOE_NAMESPACE_END
