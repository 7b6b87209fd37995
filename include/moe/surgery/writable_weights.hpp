// What surgery asks of weights before it changes their numbers.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Throws std::invalid_argument if the part has weights of fewer bits (moe/storage/), which can only be read: they are
/// buffers of bytes, and would be passed over.
template <class Part>
void require_writable_weights(std::string_view what, const Part& part) {
  for_each_buffer(
      [&](std::string_view name, const auto& values) {
        using Entry = std::remove_cvref_t<decltype(*values.data())>;
        require(!std::is_same_v<Entry, std::uint8_t>, what, ": ", name,
                " is of weights that can only be read; do it with moe::dequantized(layer)");
      },
      part);
}

}  // namespace detail

MOE_NAMESPACE_END
