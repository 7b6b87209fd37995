// A weight matrix in fewer bits than a float has: what all such storages share.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/core/number_bits.hpp"
#include "moe/core/visit_parts.hpp"
#include "moe/core/weights.hpp"
#include "moe/kernel/few_rows.hpp"
#include "moe/kernel/panel_reader.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// What a format of numbers tells: a block holds the weights of panel_width outputs for `inputs` inputs.
///   name                        for errors
///   inputs, bytes, together, read(block, k, t, j)     see moe/kernel/few_rows.hpp
///   encode(weights, block)      writes the block of these (inputs, panel_width) finite numbers
template <class Blocks>
concept CodesBlocks = requires(const float* weights, std::uint8_t* block) {
  Blocks::encode(weights, block);
  requires Blocks::inputs % Blocks::together == 0;
};

}  // namespace detail

/// The weight (outputs, inputs) of a linear map, to be read only: experts on it infer and are not trained. Products are
/// computed in float. As in Weights, a panel is sixteen outputs; its blocks follow each other, and the last ones are
/// filled up with zeros. `quantized` (moe/surgery/quantized.hpp) makes experts and whole layers of it.
template <class Format>
class CodedWeights {
  static_assert(detail::CodesBlocks<Format>);
  using Code = Matrix<std::uint8_t>;

 public:
  using Scalar = float;
  using Blocks = Format;

  CodedWeights() = default;

  /// Of another storage: the nearest numbers that the format has. Throws std::invalid_argument if one is not finite, or
  /// would not be.
  template <class W>
  requires requires(const W w) {
    w.width_of_panel(Index{});
    w.panel(Index{});
  }
  explicit CodedWeights(const W& w) : CodedWeights(w.rows(), w.cols()) {
    static_assert(std::same_as<typename W::Scalar, float>,
                  "moe: weights of fewer bits are made of float ones, and compute in float");
    alignas(64) float weights[Format::inputs * panel_width];
    for (Index p = 0; p < panels(); ++p) {
      const Index width = w.width_of_panel(p);
      for (Index b = 0; b < blocks(); ++b) {
        std::fill(std::begin(weights), std::end(weights), 0.0f);
        const Index first = b * Format::inputs, count = (std::min)(Format::inputs, cols() - first);
        for (Index k = 0; k < count; ++k)
          std::copy_n(w.panel(p) + (first + k) * width, width, weights + k * panel_width);
        encode(p, b, weights);
      }
    }
  }
  template <class Derived>
  explicit CodedWeights(const Eigen::MatrixBase<Derived>& plain) : CodedWeights(Weights<float>(plain)) {}

  Index rows() const { return static_cast<Index>(shape_[0]); }
  Index cols() const { return static_cast<Index>(shape_[1]); }
  Index size() const { return rows() * cols(); }
  Index bytes() const { return code_.size(); }  ///< Of memory, and of a file.

  Index panels() const { return (rows() + panel_width - 1) / panel_width; }
  const std::uint8_t* block(Index p, Index b) const { return code_.data() + p * code_.cols() + b * Format::bytes; }

  /// As numbers; each call decodes.
  float operator()(Index i, Index j) const {
    eigen_assert(i >= 0 && i < rows() && j >= 0 && j < cols());
    float weights[panel_width];
    decode_panel(i / panel_width, j, 1, weights);
    return weights[i % panel_width];
  }
  Matrix<float> matrix() const {
    Matrix<float> plain(rows(), cols());
    alignas(64) float weights[Format::inputs * panel_width];
    for (Index p = 0; p < panels(); ++p)
      for (Index k = 0; k < cols(); k += Format::inputs) {
        const Index count = (std::min)(Format::inputs, cols() - k);
        decode_panel(p, k, count, weights);
        for (Index i = p * panel_width; i < (std::min)((p + 1) * panel_width, rows()); ++i)
          for (Index j = 0; j < count; ++j) plain(i, k + j) = weights[j * panel_width + i % panel_width];
      }
    return plain;
  }

  /// out (depth, panel_width) = the weights of panel p for inputs k, ..., k + depth - 1.
  void decode_panel(Index p, Index k, Index depth, float* out) const {
    alignas(64) float part[Format::inputs * panel_width];
    for (const Index end = k + depth; k < end;) {
      const Index b = k / Format::inputs, first = k - b * Format::inputs;
      const Index count = (std::min)(Format::inputs - first, end - k);
      detail::decode_block<Format>(block(p, b), count == Format::inputs ? out : part);
      if (count < Format::inputs) std::copy_n(part + first * panel_width, count * panel_width, out);
      k += count, out += count * panel_width;
    }
  }

  friend bool operator==(const CodedWeights& a, const CodedWeights& b) {
    return a.shape_ == b.shape_ && a.code_ == b.code_;
  }

  /// For files: the bytes, and the shape, which a file cannot change.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_numbers("shape", f, std::as_const(self.shape_)...);
    f("code", self.code_...);
  }

 private:
  CodedWeights(Index outputs, Index inputs)
      : shape_{outputs, inputs},
        code_((outputs + panel_width - 1) / panel_width,
              (inputs + Format::inputs - 1) / Format::inputs * Format::bytes) {}

  Index blocks() const { return (cols() + Format::inputs - 1) / Format::inputs; }

  void encode(Index p, Index b, const float* weights) {
    std::uint8_t* const to = code_.data() + p * code_.cols() + b * Format::bytes;
    const auto is_finite = [](float number) { return detail::has_finite_bits(number); };
    const float* const end = weights + Format::inputs * panel_width;
    const float* odd = std::find_if_not(weights, end, is_finite);
    alignas(64) float decoded[Format::inputs * panel_width];
    if (odd == end) {
      Format::encode(weights, to);
      detail::decode_block<Format>(to, decoded);
      odd = weights + (std::find_if_not(std::begin(decoded), std::end(decoded), is_finite) - std::begin(decoded));
    }
    const Index at = odd - weights;
    require(odd == end, Format::name, ": weight (", p * panel_width + at % panel_width, ", ",
            b * Format::inputs + at / panel_width, ") is ", odd == end ? 0 : *odd, ", which the format does not hold");
  }

  std::array<std::int64_t, 2> shape_ = {0, 0};
  Code code_;  // (panels, bytes of a panel)
};

MOE_NAMESPACE_END
