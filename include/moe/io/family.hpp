// What tells how a family of models keeps its Mixture-of-Experts layers in a file: names, orders, settings, as data.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/expert/clamped_swiglu.hpp"
#include "moe/gating/scored_top_k.hpp"
#include "moe/gating/sparse_mixer.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/routing/dispatch_options.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// What a tensor is in a layer. Weights are (outputs, inputs), biases have one entry an output.
enum class Part {
  router,          ///< (E, D)
  router_bias,     ///< (E)
  selection_bias,  ///< (E), for the choice alone
  gate,            ///< (F, D), an expert's: w1 of Glu
  up,              ///< (F, D), an expert's: w3 of Glu, w1 of Mlp
  down,            ///< (D, F), an expert's: w2
  gate_bias,       ///< (F)
  up_bias,         ///< (F)
  down_bias,       ///< (D)
  shared_gate,     ///< (Fs, D), of the expert that sees every token
  shared_up,       ///< (Fs, D)
  shared_down,     ///< (D, Fs)
  shared_mix,      ///< (1, D): the shared expert's output is multiplied by the sigmoid of this logit
  output_bias,     ///< (D), added to the layer's output
};
inline constexpr int number_of_parts = 14;

/// In which order a matrix lies in its tensor: an nn.Linear's, (outputs, inputs), or its transpose.
enum class Order { outputs_first, inputs_first };

/// Which outputs of its tensor a part is, if the tensor holds gate and up: half of them, or every second one.
enum class Outputs { all, first_half, second_half, even, odd };

/// Where a part lies. `{e}` in the name is the expert's number; an expert's part without it lies in a tensor of all
/// experts: (E, rows, columns), or (E rows, columns).
struct Slot {
  Part part;
  std::string tensor;  ///< Behind the layer's name and a dot: "mlp.experts.{e}.up_proj.weight".
  Outputs outputs = Outputs::all;
  Order order = Order::outputs_first;
  bool optional = false;    ///< Whether a layer may be without this part.
  std::string marker = {};  ///< The slot is used if there is a tensor of the name with this behind it: "_blocks".
  std::size_t rank = 0;     ///< Of a tensor that is written, if it is not the usual: 2 for (E rows, columns).
};

/// What a setting says.
enum class Key {
  experts,             ///< E, without those that copy their input
  copying_experts,     ///< how many of the router's rows belong to experts that return their input; the last ones
  choices,             ///< k
  width,               ///< D
  hidden,              ///< F
  shared_hidden,       ///< Fs
  shared_experts,      ///< Fs / F
  activation,          ///< "silu", "gelu", "relu", ...
  limit,               ///< of ClampedSilu
  normalize,           ///< whether weights are divided by their sum
  scale,               ///< what weights are multiplied by
  scores,              ///< "softmax", "sigmoid"; in GGUF files 1 softmax, 2 sigmoid, 3 softmax over the chosen, 4 sqrt
  method,              ///< of the choice: "greedy", "group_limited_greedy"
  groups,              ///< of experts
  groups_used,         ///< that are chosen from
  least_sum,           ///< below which no sum of weights is divided by
  norm,                ///< p, if weights are divided by a p-norm
  band,                ///< of SparseMixer
  capacity,            ///< of an expert, in tokens
  inference_capacity,  ///< the same in evaluation, as a share of the tokens
  output_dropout,      ///< d: in evaluation the layer's output is multiplied by 1 - d
};

/// How a setting is called. Of several names the first that the checkpoint has is taken; `{arch}` is a GGUF file's
/// architecture. A list holds one value for each layer.
struct Setting {
  Key key;
  std::vector<std::string> names;
  std::optional<std::variant<double, bool, std::string>> fallback = {};  ///< Without it, reading may do without.
};

class Settings;

/// The gate of a family, with its settings.
using FamilyGate = std::variant<TopK, ScoredTopK, SparseMixer>;

/// What an expert computes between its projections.
struct ExpertForm {
  std::string activation = "silu";  ///< "silu", "gelu", "gelu_tanh", "relu", "relu2"
  ClampedSilu clamp = {};           ///< For "silu".
};

/// A plain value: change a copy, or write one for models of your own.
///   moe::io::Family mine = *moe::io::find_family("qwen3_moe");
///   mine.slots[0].tensor = "moe.router.weight";
struct Family {
  std::string name = {};
  std::vector<std::string> architectures = {};  ///< `model_type` of config.json, or `general.architecture` of GGUF.
  bool is_gguf = false;
  std::vector<std::string> layers = {};  ///< How layer {n} is called: "model.layers.{n}"; an encoder's first.
  /// What the layer's tensors begin with, behind its name: "mlp.". Each such tensor is used exactly once, or ignored.
  std::vector<std::string> scope = {};
  std::vector<Slot> slots = {};  ///< Of several for one part the first that the checkpoint has is taken.
  std::vector<Setting> settings = {};
  FamilyGate (*gate)(const Settings&) = nullptr;
  ExpertForm (*form)(const Settings&) = nullptr;              ///< Without it, the activation that the settings name.
  DispatchOptions (*dispatching)(const Settings&) = nullptr;  ///< Without it, the defaults.
  std::vector<std::string> ignored = {};  ///< Names in the scope that are no part, `*` for any characters.
};

}  // namespace io

MOE_NAMESPACE_END
