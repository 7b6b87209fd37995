// A language model of two blocks, small enough to be trained a dozen times in a minute.
#pragma once

#include <cstdint>
#include <functional>

#include "moe_language.hpp"

namespace example {

inline constexpr ModelSize small_size{.width = 64, .heads = 4, .blocks = 2, .hidden = 256};

/// A dense feed-forward network in the first block, a mixture in the second. The same seed gives the same weights to
/// all but the mixture, and to its experts too if these are drawn first.
inline MoeLanguageModel small_language_model(Index codes, std::uint64_t seed,
                                             const std::function<MoeLayer<float>(moe::Random&)>& mixture) {
  moe::Random random(seed);
  const auto make = [&](Index block) {
    return block == 0 ? dense_layer<float>(small_size.width, small_size.hidden, random) : mixture(random);
  };
  return random_language_model<MoeLayer<float>>(codes, small_size, make, random);
}

}  // namespace example
