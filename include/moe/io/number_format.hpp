// The formats in which numbers can be written.
#pragma once

#include <optional>

#include "moe/io/tensor_format.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// Numbers are rounded to the nearest, of two to the even one; q8_0 is GGUF's, in blocks of 32.
enum class NumberFormat { as_stored, f64, f32, f16, bf16, q8_0 };

/// Nothing for `as_stored`.
constexpr std::optional<TensorFormat> format_of(NumberFormat format) {
  switch (format) {
    case NumberFormat::f64:
      return format_of(DType::F64);
    case NumberFormat::f32:
      return format_of(DType::F32);
    case NumberFormat::f16:
      return format_of(DType::F16);
    case NumberFormat::bf16:
      return format_of(DType::BF16);
    case NumberFormat::q8_0:
      return gguf_format(8);
    case NumberFormat::as_stored:
      break;
  }
  return std::nullopt;
}

}  // namespace io

MOE_NAMESPACE_END
