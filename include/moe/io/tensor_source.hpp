// A tensor that is to be written, whose bytes are made when they are wanted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moe/io/atomic_file.hpp"
#include "moe/io/tensor_format.hpp"
#include "moe/io/tensor_info.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// Takes bytes, piece by piece.
using ByteSink = std::function<void(std::span<const std::byte>)>;

struct TensorSource {
  std::string name;
  TensorFormat format;                         ///< format_of(DType::BF16), gguf_format(8)
  std::vector<std::uint64_t> shape;            ///< Row-major, the slowest first, in GGUF files too.
  std::function<void(const ByteSink&)> write;  ///< Gives all bytes, in their order, in pieces of any size.
};

inline std::string to_string(const TensorSource& tensor) {
  return moe::detail::described(tensor.format.name, tensor.shape);
}

}  // namespace io

namespace detail {

/// The number of bytes. Throws io::FileError if it overflows or rows are no whole blocks.
inline std::uint64_t bytes_of(std::string_view source, const io::TensorSource& tensor) {
  const std::uint64_t last = tensor.shape.empty() ? 1 : tensor.shape.back();
  const auto bytes = checked_product(tensor.shape, tensor.format.bytes);
  if (!bytes)
    fail_io(source, ": tensor ", in_quotes(tensor.name),
            ": the product of its dimensions overflows: ", to_string(tensor));
  if (*bytes % tensor.format.elements != 0 || (tensor.format.elements > 4 && last % tensor.format.elements != 0))
    fail_io(source, ": tensor ", in_quotes(tensor.name), ": rows of ", last, " numbers are no whole blocks of ",
            tensor.format.elements, " (", tensor.format.name, ")");
  return *bytes / tensor.format.elements;
}

/// Writes the tensor's bytes and tells of each piece. Throws io::FileError if there are more or fewer than declared.
inline void write_tensor(std::string_view source, const io::TensorSource& tensor, AtomicFile& file,
                         const std::function<void(std::uint64_t)>& wrote) {
  const std::uint64_t expected = bytes_of(source, tensor);
  std::uint64_t count = 0;
  const auto refuse = [&] {
    fail_io(source, ": tensor ", in_quotes(tensor.name), ": ", to_string(tensor), " needs ", expected, " bytes, ",
            count, " are given");
  };
  tensor.write([&](std::span<const std::byte> bytes) {
    count += bytes.size();
    if (count > expected) refuse();
    file.write(bytes);
    wrote(bytes.size());
  });
  if (count != expected) refuse();
}

}  // namespace detail

MOE_NAMESPACE_END
