// How the numbers of a tensor lie in its bytes: the table of formats that a checkpoint can have.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "moe/io/convert.hpp"
#include "moe/io/dtype.hpp"
#include "moe/io/k_blocks.hpp"
#include "moe/io/number_blocks.hpp"
#include "moe/io/number_encoding.hpp"
#include "moe/io/small_floats.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// Blocks of `elements` numbers in `bytes` bytes, one after the other; a plain type is a block of one number.
struct TensorFormat {
  std::string_view name;            ///< As in the file format: "BF16", "Q4_K".
  std::uint32_t elements = 1;       ///< Of a block.
  std::uint32_t bytes = 1;          ///< Of a block.
  std::optional<DType> dtype = {};  ///< What safetensors files call it.
  void (*to_floats)(const std::byte* blocks, std::size_t count, float* out) = nullptr;
  /// Writes blocks; returns the number of the first that cannot hold its numbers, `count` if all do.
  std::size_t (*from_doubles)(const double* values, std::size_t count, std::byte* blocks) = nullptr;

  /// Whether its numbers can be read. The others can be listed and copied.
  bool can_decode() const {
    return to_floats != nullptr || (dtype && moe::detail::with_dtype(*dtype, [](auto) {}));
  }
};

}  // namespace io

namespace detail {

/// Plain numbers, whose bits are those of a Bits each.
template <class Bits, float (*value)(Bits)>
void decode_numbers(const std::byte* __restrict bytes, std::size_t count, float* __restrict out) {
  const auto decode_at = [bytes, out](std::size_t i) {
    Bits bits;
    std::memcpy(&bits, bytes + i * sizeof(Bits), sizeof bits);
    out[i] = value(bits);
  };
  constexpr std::size_t at_once = 32;  // a constant, for vectors
  std::size_t begin = 0;
  for (; begin + at_once <= count; begin += at_once)
    for (std::size_t i = 0; i < at_once; ++i) decode_at(begin + i);
  for (; begin < count; ++begin) decode_at(begin);
}

/// A row of GGUF's table of types.
struct GgufFormat {
  std::uint32_t number;
  io::TensorFormat format;
};

}  // namespace detail

namespace io {

/// The format of a safetensors tensor.
constexpr TensorFormat format_of(DType dtype) {
  const unsigned bits = dtype_bits(dtype);
  const std::uint32_t elements = bits == 4 ? 2 : bits == 6 ? 4 : 1;
  TensorFormat format{.name = dtype_name(dtype), .elements = elements, .bytes = elements * bits / 8, .dtype = dtype};
  if (dtype == DType::F16) format.to_floats = moe::detail::decode_numbers<std::uint16_t, moe::detail::half_value>;
  if (dtype == DType::BF16) format.to_floats = moe::detail::decode_numbers<std::uint16_t, moe::detail::bfloat_value>;
  if (dtype == DType::F8_E4M3) format.to_floats = moe::detail::decode_numbers<std::uint8_t, moe::detail::e4m3_value>;
  if (dtype == DType::F8_E5M2) format.to_floats = moe::detail::decode_numbers<std::uint8_t, moe::detail::e5m2_value>;
  if (dtype == DType::F8_E8M0) format.to_floats = moe::detail::decode_numbers<std::uint8_t, moe::detail::e8m0_value>;
  if (dtype == DType::F64) format.from_doubles = moe::detail::encode_plain<double>;
  if (dtype == DType::F32) format.from_doubles = moe::detail::encode_plain<float>;
  if (dtype == DType::F16) format.from_doubles = moe::detail::encode_small<moe::detail::half_bits, 0x7c00>;
  if (dtype == DType::BF16) format.from_doubles = moe::detail::encode_small<moe::detail::bfloat_bits, 0x7f80>;
  return format;
}

}  // namespace io

namespace detail {

inline constexpr auto gguf_formats = std::to_array<GgufFormat>({
    {0, io::format_of(io::DType::F32)},
    {1, io::format_of(io::DType::F16)},
    {2, {"Q4_0", 32, 18, {}, decode_q4_0}},
    {3, {"Q4_1", 32, 20, {}, decode_q4_1}},
    {6, {"Q5_0", 32, 22, {}, decode_q5_0}},
    {7, {"Q5_1", 32, 24, {}, decode_q5_1}},
    {8, {"Q8_0", 32, 34, {}, decode_q8_0, encode_q8_0}},
    {9, {"Q8_1", 32, 36}},
    {10, {"Q2_K", 256, 84}},
    {11, {"Q3_K", 256, 110}},
    {12, {"Q4_K", 256, 144, {}, decode_q4_k}},
    {13, {"Q5_K", 256, 176, {}, decode_q5_k}},
    {14, {"Q6_K", 256, 210, {}, decode_q6_k}},
    {15, {"Q8_K", 256, 292}},
    {16, {"IQ2_XXS", 256, 66}},
    {17, {"IQ2_XS", 256, 74}},
    {18, {"IQ3_XXS", 256, 98}},
    {19, {"IQ1_S", 256, 50}},
    {20, {"IQ4_NL", 32, 18}},
    {21, {"IQ3_S", 256, 110}},
    {22, {"IQ2_S", 256, 82}},
    {23, {"IQ4_XS", 256, 136}},
    {24, io::format_of(io::DType::I8)},
    {25, io::format_of(io::DType::I16)},
    {26, io::format_of(io::DType::I32)},
    {27, io::format_of(io::DType::I64)},
    {28, io::format_of(io::DType::F64)},
    {29, {"IQ1_M", 256, 56}},
    {30, io::format_of(io::DType::BF16)},
    {34, {"TQ1_0", 256, 54}},
    {35, {"TQ2_0", 256, 66}},
    {39, {"MXFP4", 32, 17, {}, decode_mxfp4}},
    {40, {"NVFP4", 64, 36}},
    {41, {"Q1_0", 128, 18}},
    {42, {"Q2_0", 64, 18}},
});

}  // namespace detail

namespace io {

/// The format of the GGUF tensor type of that number; nothing for a number that GGUF does not have.
constexpr std::optional<TensorFormat> gguf_format(std::uint32_t number) {
  for (const auto& row : moe::detail::gguf_formats)
    if (row.number == number) return row.format;
  return std::nullopt;
}

/// The number of a format in GGUF; nothing for one that GGUF does not have.
constexpr std::optional<std::uint32_t> gguf_number(const TensorFormat& format) {
  for (const auto& row : moe::detail::gguf_formats)
    if (row.format.name == format.name) return row.number;
  return std::nullopt;
}

}  // namespace io

namespace detail {

/// The numbers of whole blocks, all of them, into float or double: what a format defines in float is that float. Throws
/// io::FileError if the format cannot be decoded, would round (see Precision), or a value does not fit.
template <class S>
void decode_format(std::string_view source, std::string_view name, const io::TensorFormat& format,
                   std::span<const std::byte> bytes, S* out, io::Precision precision) {
  static_assert(std::is_same_v<S, float> || std::is_same_v<S, double>, "checkpoints are decoded into float or double");
  if (!format.can_decode())
    fail_io(source, ": tensor ", in_quotes(name), ": numbers of the format ", format.name, " cannot be read");
  if (format.to_floats == nullptr) {
    require_conversion<S>(source, name, *format.dtype, precision);
    return checked_decode(source, name, *format.dtype, bytes, out, precision);
  }
  const std::size_t count = bytes.size() / format.bytes;
  if constexpr (std::is_same_v<S, float>) {
    format.to_floats(bytes.data(), count, out);
  } else {
    std::array<float, 512> floats;
    const std::size_t at_once = floats.size() / format.elements;
    for (std::size_t b = 0; b < count; b += at_once) {
      const std::size_t blocks = (std::min)(at_once, count - b), numbers = blocks * format.elements;
      format.to_floats(bytes.data() + b * format.bytes, blocks, floats.data());
      for (std::size_t i = 0; i < numbers; ++i) out[b * format.elements + i] = static_cast<S>(floats[i]);
    }
  }
}

}  // namespace detail

MOE_NAMESPACE_END
