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

/// A piece of a text, words or a number, without its type: what joins pieces is compiled once. It refers to the words,
/// and to a number that is not whole, which must outlive it. Under -ffast-math a compiler may drop a check whose
/// message would hand NaN or an infinity to another function as a value, so these stay behind a pointer.
class Piece {
 public:
  Piece(const char* words) : Piece(std::string_view(words)) {}         // NOLINT(google-explicit-constructor)
  Piece(const std::string& words) : Piece(std::string_view(words)) {}  // NOLINT(google-explicit-constructor)
  Piece(std::string_view words)                                        // NOLINT(google-explicit-constructor)
      : kind_(Kind::words), at_(words.data()), size_(words.size()) {}
  template <class Number>
  requires std::is_arithmetic_v<Number> Piece(const Number& number) {  // NOLINT(google-explicit-constructor)
    if constexpr (std::is_floating_point_v<Number>) {
      kind_ = sizeof(Number) == sizeof(float)    ? Kind::of_float
              : sizeof(Number) == sizeof(double) ? Kind::of_double
                                                 : Kind::of_long_double;
      at_ = &number;
    } else {
      kind_ = std::is_signed_v<Number> ? Kind::whole : Kind::natural;
      whole_ = static_cast<long long>(number);
    }
  }

  /// Appends it; a number that is not whole with so many significant digits.
  void append_to(std::string& text, int digits) const {
    char written[64];
    switch (kind_) {
      case Kind::words:
        text.append(static_cast<const char*>(at_), size_);
        return;
      case Kind::whole:
        text.append(written, std::to_chars(written, std::end(written), whole_).ptr);
        return;
      case Kind::natural:
        text.append(written, std::to_chars(written, std::end(written), static_cast<unsigned long long>(whole_)).ptr);
        return;
      case Kind::of_float:
        return append_number<double>(text, *static_cast<const float*>(at_), digits);
      case Kind::of_double:
        return append_number<double>(text, *static_cast<const double*>(at_), digits);
      case Kind::of_long_double:
        return append_number<long double>(text, *static_cast<const long double*>(at_), digits);
    }
  }

 private:
  enum class Kind : unsigned char { words, whole, natural, of_float, of_double, of_long_double };

  template <class Wide, class Number>
  static void append_number(std::string& text, const Number& number, int digits) {
    if (!has_finite_bits(number)) {
      text += has_nan_bits(number) ? "nan" : has_sign_bit(number) ? "-inf" : "inf";
      return;
    }
    char written[64];
    const auto end =
        std::to_chars(written, std::end(written), static_cast<Wide>(number), std::chars_format::general, digits);
    text.append(written, end.ptr);
  }

  Kind kind_ = Kind::words;
  const void* at_ = nullptr;
  union {
    std::size_t size_ = 0;
    long long whole_;
  };
};

/// A number as programs read it, whatever the program's locale, or words.
inline void append(std::string& text, const Piece& piece, int digits = 6) { piece.append_to(text, digits); }

inline std::string joined_pieces(std::ptrdiff_t digits, const Piece* pieces, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) pieces[i].append_to(text, static_cast<int>(digits));
  return text;
}

/// The parts, one after the other; floating point with so many significant digits, as a stream's precision says.
template <class... Parts>
std::string joined_to(std::ptrdiff_t digits, const Parts&... parts) {
  const Piece pieces[] = {Piece(parts)...};
  return joined_pieces(digits, pieces, sizeof...(parts));
}

/// The same with six digits.
template <class... Parts>
std::string joined(const Parts&... parts) {
  return joined_to(6, parts...);
}

}  // namespace detail

MOE_NAMESPACE_END
