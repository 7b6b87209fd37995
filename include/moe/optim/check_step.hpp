// What every optimiser checks before a step.
#pragma once

#include <stdexcept>
#include <string_view>

#include "moe/core/check_gradient.hpp"
#include "moe/core/core.hpp"
#include "moe/optim/frozen.hpp"
#include "moe/optim/parameter_groups.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// check_gradient for a value that was made for the model earlier: `advice` comes before what does not fit.
template <class Model>
void check_companion(std::string_view step, std::string_view what, std::string_view advice, const Model& model,
                     const Model& companion) {
#ifdef __cpp_exceptions
  try {
    check_gradient(what, model, companion);
  } catch (const std::invalid_argument& error) {
    const std::string_view reason = error.what(), prefix = "moe: ";
    require(false, step, ": ", advice, " (", reason.starts_with(prefix) ? reason.substr(prefix.size()) : reason, ")");
  }
#else
  static_cast<void>(step), static_cast<void>(advice);
  check_gradient(what, model, companion);
#endif
}

/// Throws std::invalid_argument unless the options that all optimisers have are such that a step can be made.
template <class Options>
void check_options(std::string_view optimiser, const Options& options) {
  require(has_finite_bits(options.learning_rate) && options.learning_rate >= 0 && options.learning_rate <= 1e30,
          optimiser, ": learning_rate is ", options.learning_rate, ", it must be in [0, 1e30]");
  require(options.weight_decay >= 0 && has_finite_bits(options.weight_decay), optimiser, ": weight_decay is ",
          options.weight_decay, ", it must be finite and 0 or more");
  require(options.clip_norm > 0, optimiser, ": clip_norm is ", options.clip_norm,
          ", it must be more than 0; infinity clips nothing");
}

/// For a step whose gradient is const.
inline void require_kept_gradient(std::string_view step, bool zero_gradient) {
  require(!zero_gradient, step,
          ": options.zero_gradient is on, and this gradient is const: pass one that may be set to zero, or "
          "turn the option off");
}

inline constexpr std::string_view older_moments =
    "the moments are older than the model, or another's: pass the optimiser to what changes the experts, as in "
    "add_experts(layer, rows, experts, adam), or make a new optimiser";

/// Throws std::invalid_argument unless what is frozen and the groups are parts of the model, and the gradient and the
/// moments have its shapes.
template <class Model, class... Moments>
void check_step(std::string_view step, const Frozen& frozen, const ParameterGroups& groups, Model& model,
                const Model& gradient, const Moments&... moments) {
  frozen.check(model);
  groups.check(model);
  check_companion(step, "the gradient",
                  "the gradient is older than the model, or another's: make it anew by zeros_like(model)", model,
                  gradient);
  (check_companion(step, "the optimiser's model", older_moments, model, moments), ...);
}

}  // namespace detail

MOE_NAMESPACE_END
