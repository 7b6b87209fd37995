// Text made of words and numbers, as programs read them, whatever the locale.
#pragma once

#include <charconv>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>

#include "moe/core/number_bits.hpp"
#include "moe/core/version.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline void append(std::string& text, std::string_view part) { text += part; }

/// A number as programs read it, whatever the program's locale: floating point with so many significant digits. Under
/// -ffast-math a compiler may drop a check whose message would hand NaN or an infinity to another function as a value:
/// so these are told by their bits, behind a reference.
template <class Number>
requires std::is_arithmetic_v<Number>
void append(std::string& text, const Number& part, int digits = 6) {
  if constexpr (std::is_floating_point_v<Number>) {
    if (!has_finite_bits(part)) {
      text += has_nan_bits(part) ? "nan" : has_sign_bit(part) ? "-inf" : "inf";
      return;
    }
  }
  char room[64];
  std::to_chars_result written{};
  if constexpr (std::is_floating_point_v<Number>)
    written = std::to_chars(room, std::end(room), part, std::chars_format::general, digits);
  else
    written = std::to_chars(room, std::end(room), +part);  // a bool as 0 or 1
  text.append(room, written.ptr);
}

/// The parts, one after the other; floating point with so many significant digits, as a stream's precision asks for.
template <class... Parts>
std::string joined_to(std::ptrdiff_t digits, const Parts&... parts) {
  std::string text;
  const auto add = [&](const auto& part) {
    if constexpr (std::is_floating_point_v<std::remove_cvref_t<decltype(part)>>)
      append(text, part, static_cast<int>(digits));
    else
      append(text, part);
  };
  (add(parts), ...);
  return text;
}

/// The same with six digits.
template <class... Parts>
std::string joined(const Parts&... parts) {
  return joined_to(6, parts...);
}

}  // namespace detail

MOE_NAMESPACE_END
