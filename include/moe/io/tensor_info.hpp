// What a safetensors file says of one tensor, and what is allowed of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moe/io/dtype.hpp"
#include "moe/io/file_error.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// One tensor of a file. Its values lie row-major in the bytes [begin, end) of the data.
struct TensorInfo {
  DType dtype = DType::F32;
  std::vector<std::uint64_t> shape;  ///< empty for a scalar
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  /// Number of elements; it cannot overflow in a header that was read or is to be written.
  std::uint64_t size() const {
    std::uint64_t count = 1;
    for (const std::uint64_t dimension : shape) count *= dimension;
    return count;
  }
  std::uint64_t bytes() const { return end - begin; }
};

}  // namespace io

namespace detail {

/// "F32 [2, 3]"
inline std::string described(std::string_view dtype, std::span<const std::uint64_t> shape) {
  std::string text(dtype);
  text += " [";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace detail

namespace io {

inline std::string to_string(const TensorInfo& info) {
  return moe::detail::described(dtype_name(info.dtype), info.shape);
}

}  // namespace io

namespace detail {

/// factor times the product of the dimensions; nothing if it overflows on the way.
inline std::optional<std::uint64_t> checked_product(std::span<const std::uint64_t> dimensions,
                                                    std::uint64_t factor = 1) {
  std::uint64_t product = 1;
  const auto multiply = [&](std::uint64_t by) {
    if (by != 0 && product > (std::numeric_limits<std::uint64_t>::max)() / by) return false;
    product *= by;
    return true;
  };
  for (const std::uint64_t dimension : dimensions)
    if (!multiply(dimension)) return std::nullopt;
  if (!multiply(factor)) return std::nullopt;
  return product;
}

/// The number of bytes that dtype and shape need. Throws if it overflows or is no whole number of bytes.
inline std::uint64_t checked_bytes(std::string_view source, std::string_view name, const io::TensorInfo& info) {
  const auto bits = checked_product(info.shape, io::dtype_bits(info.dtype));
  if (!bits) fail_io(source, ": tensor ", in_quotes(name), ": the size of field 'shape' overflows: ", to_string(info));
  if (*bits % 8 != 0)
    fail_io(source, ": tensor ", in_quotes(name), ": ", to_string(info), " does not fill whole bytes");
  return *bits / 8;
}

/// Why a tensor must not bear this name, or nothing. A name may end up as a C string or within a file name.
inline std::optional<std::string_view> fault_of_name(std::string_view name) {
  const auto is_separator = [](char c) { return c == '/' || c == '\\'; };
  if (name.find('\0') != std::string_view::npos) return "contains a NUL byte";
  if (!name.empty() && is_separator(name.front())) return "is an absolute path";
  if (name.size() > 2 && name[1] == ':' && is_separator(name[2])) return "is an absolute path";
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = (std::min)(name.find_first_of("/\\", begin), name.size());
    if (name.substr(begin, end - begin) == "..") return "has a '..' component";
    begin = end + 1;
  }
  return std::nullopt;
}

}  // namespace detail

MOE_NAMESPACE_END
