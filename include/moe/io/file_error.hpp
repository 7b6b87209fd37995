// The one error of the file formats, and how its message is made.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// A file, a tensor or a model that cannot be read, written or matched; the message names file, tensor and field.
class FileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace io

namespace detail {

/// Throws: io::FileError; without exceptions, prints the message and aborts.
template <class... Parts>
[[noreturn]] void fail_io(const Parts&... parts) {
  const std::string message = joined("moe::io: ", parts...);
#ifdef __cpp_exceptions
  throw io::FileError(message);
#else
  std::fprintf(stderr, "%s\n", message.c_str());
  std::abort();
#endif
}

/// A text from a file, fit for a message: control bytes masked and cut to 120 bytes, for hostile names are long and may
/// carry terminal escapes.
inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 120;
  std::string result = "'";
  for (const char c : text.substr(0, longest)) result += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? '?' : c;
  return result + (text.size() > longest ? "...'" : "'");
}

}  // namespace detail

MOE_NAMESPACE_END
