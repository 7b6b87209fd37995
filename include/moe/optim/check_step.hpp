// What every optimiser checks before a step.
#pragma once

#include <stdexcept>
#include <string_view>

#include "moe/core/check_gradient.hpp"
#include "moe/core/core.hpp"
#include "moe/optim/frozen.hpp"

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

/// Throws std::invalid_argument unless what is frozen is part of the model, and the gradient and the moments have its
/// shapes.
template <class Model, class... Moments>
void check_step(std::string_view step, const Frozen& frozen, Model& model, const Model& gradient,
                const Moments&... moments) {
  frozen.check(model);
  check_companion(step, "the gradient",
                  "the gradient is older than the model, or another's: make it anew by zeros_like(model)", model,
                  gradient);
  (check_companion(step, "the optimiser's model",
                   "the moments are older than the model, or another's: pass the optimiser to what changes "
                   "the experts, as in add_experts(layer, rows, experts, adam), or make a new optimiser",
                   model, moments),
   ...);
}

}  // namespace detail

MOE_NAMESPACE_END
