// Whether a gradient fits the part that it is of.
#pragma once

#include <string_view>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Throws std::invalid_argument unless `gradient` has the shapes of `part`, and memory of its own. A part may have a
/// check of its own, `check_gradient(gradient) const`.
template <class Part>
void check_gradient(std::string_view what, const Part& part, const Part& gradient) {
  require(&part != &gradient, what, " is the part itself");
  if constexpr (requires { part.check_gradient(gradient); })
    part.check_gradient(gradient);
  else if constexpr (NamesParameters<Part>)
    require_same_shapes(what, part, gradient);
}

}  // namespace detail

MOE_NAMESPACE_END
