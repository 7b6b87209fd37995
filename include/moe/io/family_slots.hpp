// What entries of the table of families are made of: slots and settings that many of them have.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/io/family.hpp"
#include "moe/io/family_gates.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

using Slots = std::vector<io::Slot>;
using SettingList = std::vector<io::Setting>;

template <class T>
std::vector<T> joined_lists(std::vector<T> first, const std::vector<T>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// A weight an expert, by the names of its three projections; or all of them in memory's form of transformers 5.
inline Slots separate_experts(const std::string& block, const std::string& gate, const std::string& up,
                              const std::string& down) {
  const std::string expert = block + "experts.{e}.", fused = block + "experts.gate_up_proj";
  return {{io::Part::gate, expert + gate + ".weight"},     {io::Part::up, expert + up + ".weight"},
          {io::Part::down, expert + down + ".weight"},     {io::Part::gate, fused, io::Outputs::first_half},
          {io::Part::up, fused, io::Outputs::second_half}, {io::Part::down, block + "experts.down_proj"}};
}
inline Slots mlp_experts() { return separate_experts("mlp.", "gate_proj", "up_proj", "down_proj"); }

/// Gate and up of all experts in one tensor, and down in another.
inline Slots fused_experts(const std::string& gate_up, const std::string& down, io::Order order,
                           io::Outputs gate = io::Outputs::first_half, io::Outputs up = io::Outputs::second_half) {
  return {{io::Part::gate, gate_up, gate, order},
          {io::Part::up, gate_up, up, order},
          {io::Part::down, down, io::Outputs::all, order}};
}

inline Slots shared_expert(const std::string& name) {
  return {{.part = io::Part::shared_gate, .tensor = name + ".gate_proj.weight", .optional = true},
          {.part = io::Part::shared_up, .tensor = name + ".up_proj.weight", .optional = true},
          {.part = io::Part::shared_down, .tensor = name + ".down_proj.weight", .optional = true}};
}

inline Slots router(const std::string& name) { return {{io::Part::router, name + ".weight"}}; }
inline Slots selection_bias(const std::string& name, bool optional = false) {
  return {{.part = io::Part::selection_bias, .tensor = name, .optional = optional}};
}

inline SettingList settings_of(const std::string& experts, const std::string& choices, const std::string& hidden) {
  return {{io::Key::experts, {experts}},
          {io::Key::choices, {choices}},
          {io::Key::hidden, {hidden}},
          {io::Key::width, {"hidden_size"}},
          {io::Key::activation, {"hidden_act"}, "silu"}};
}
inline SettingList mixtral_settings() {
  return settings_of("num_local_experts", "num_experts_per_tok", "intermediate_size");
}
inline SettingList qwen_settings(bool normalize) {
  return joined_lists(settings_of("num_experts", "num_experts_per_tok", "moe_intermediate_size"),
                      {{io::Key::normalize, {"norm_topk_prob"}, normalize},
                       {io::Key::shared_hidden, {"shared_expert_intermediate_size"}}});
}
inline SettingList deepseek_settings() {
  return joined_lists(settings_of("n_routed_experts", "num_experts_per_tok", "moe_intermediate_size"),
                      {{io::Key::shared_experts, {"n_shared_experts", "num_shared_experts"}},
                       {io::Key::groups, {"n_group"}, 1.0},
                       {io::Key::groups_used, {"topk_group"}},
                       {io::Key::method, {"topk_method"}},
                       {io::Key::scores, {"scoring_func"}},
                       {io::Key::normalize, {"norm_topk_prob"}, true},
                       {io::Key::scale, {"routed_scaling_factor"}, 1.0}});
}
inline SettingList always_divided() { return {{io::Key::normalize, {}, true}}; }

inline io::Family mixtral_like(const std::string& name, const Slots& slots, const SettingList& more,
                               io::FamilyGate (*gate)(const io::Settings&)) {
  return {.name = name,
          .architectures = {name},
          .layers = {"model.layers.{n}"},
          .scope = {"block_sparse_moe."},
          .slots = joined_lists(
              joined_lists(router("block_sparse_moe.gate"), separate_experts("block_sparse_moe.", "w1", "w3", "w2")),
              slots),
          .settings = joined_lists(mixtral_settings(), more),
          .gate = gate};
}

/// Those whose experts are `mlp.experts.{e}.gate_proj` and so on.
inline io::Family mlp_like(const std::string& name, const Slots& slots, SettingList settings,
                           io::FamilyGate (*gate)(const io::Settings&)) {
  return {.name = name,
          .architectures = {name},
          .layers = {"model.layers.{n}"},
          .scope = {"mlp."},
          .slots = joined_lists(slots, mlp_experts()),
          .settings = std::move(settings),
          .gate = gate};
}

inline io::Family qwen_like(const std::string& name, bool shared, bool normalize) {
  Slots slots = router("mlp.gate");
  if (shared) {
    slots = joined_lists(slots, shared_expert("mlp.shared_expert"));
    slots.push_back({.part = io::Part::shared_mix, .tensor = "mlp.shared_expert_gate.weight", .optional = true});
  }
  return mlp_like(name, slots, qwen_settings(normalize), top_k_gate);
}

inline io::Family deepseek_like(const std::string& name, const std::string& bias,
                                io::FamilyGate (*gate)(const io::Settings&)) {
  Slots slots = joined_lists(router("mlp.gate"), shared_expert("mlp.shared_experts"));
  if (!bias.empty()) slots = joined_lists(slots, selection_bias(bias));
  return mlp_like(name, slots, deepseek_settings(), gate);
}

/// Two projections without a gate.
inline Slots relu_experts(const std::string& block, const std::string& first, const std::string& second, bool bias) {
  const std::string expert = block + "experts.expert_{e}.";
  const Slots slots{{io::Part::router, block + "router.classifier.weight"},
                    {.part = io::Part::router_bias, .tensor = block + "router.classifier.bias", .optional = true},
                    {io::Part::up, expert + first + ".weight"},
                    {io::Part::down, expert + second + ".weight"}};
  if (!bias) return slots;
  return joined_lists(
      slots, {{io::Part::up_bias, expert + first + ".bias"}, {io::Part::down_bias, expert + second + ".bias"}});
}

}  // namespace detail

MOE_NAMESPACE_END
