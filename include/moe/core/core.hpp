// The words that every other header uses: types, views of a caller's rows, the checks of the public edge.
#pragma once

#include "moe/core/version.hpp"  // first: an older language is refused before anything else is read

// IWYU pragma: begin_exports
#include "moe/core/number_bits.hpp"
#include "moe/core/require.hpp"
#include "moe/core/rows_ref.hpp"
#include "moe/core/text.hpp"
#include "moe/core/types.hpp"
// IWYU pragma: end_exports
