// The sizes of a measured layer.
#pragma once

#include <moe/core/core.hpp>

namespace bench {

struct Shape {
  moe::Index width, hidden, experts, k, tokens;
};

}  // namespace bench
