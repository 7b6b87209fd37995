// What a checkpoint says of one tensor.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "moe/io/tensor_format.hpp"
#include "moe/io/tensor_info.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// One tensor of a checkpoint, as its file describes it.
struct CheckpointTensor {
  std::string name;
  TensorFormat format;
  std::vector<std::uint64_t> shape;  ///< Row-major, the slowest first: GGUF's order turned round. Empty for a scalar.
  std::uint64_t begin = 0;           ///< Where its bytes begin in the file.
  std::uint64_t bytes = 0;
  std::string file;  ///< The name of its file, within the checkpoint's folder.

  std::uint64_t size() const { return product(shape); }
  /// As a matrix: the last dimension is the columns, the others together are the rows.
  std::uint64_t cols() const { return shape.empty() ? 1 : shape.back(); }
  std::uint64_t rows() const { return shape.empty() ? 1 : product(std::span(shape).first(shape.size() - 1)); }

 private:
  static std::uint64_t product(std::span<const std::uint64_t> dimensions) {
    std::uint64_t count = 1;  // cannot overflow: a header that was read is checked
    for (const std::uint64_t dimension : dimensions) count *= dimension;
    return count;
  }
};

/// "Q8_0 [6, 64, 96]"
inline std::string to_string(const CheckpointTensor& tensor) {
  return moe::detail::described(tensor.format.name, tensor.shape);
}

}  // namespace io

MOE_NAMESPACE_END
