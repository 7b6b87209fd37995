// How thoroughly the tests compare gradients with differences.
#pragma once

#include <algorithm>

#include "moe/core/core.hpp"
#include "moe/testing/check_gradients.hpp"

namespace support {

/// The same, with no more entries of a tensor than the build asks for (MOE_TEST_GRADIENT_ENTRIES; with 0 the gradient
/// is computed and not compared). Few may all lie next to kinks, which is no error then: such a build looks for other
/// faults.
inline moe::testing::GradientOptions gradient_options(moe::testing::GradientOptions options = {}) {
  if (options.entries > MOE_TEST_GRADIENT_ENTRIES) {
    options.entries = MOE_TEST_GRADIENT_ENTRIES;
    if (options.entries < 25) options.kink_share = 1;
  }
  return options;
}

}  // namespace support
