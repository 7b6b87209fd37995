// Index and matrix types, and the letters of the shapes.
//
// Letters, as suffixes of names wherever a matrix appears (`x_TD`, `logits_TE`, `w1_FD`):
//   T tokens   D model width   F hidden width   E experts   K choices per token   C capacity per expert
//   N filled slots, that is routed token-expert pairs that were not dropped   O output width of an expert, D as a rule
// Tokens are rows; matrices are row-major; a weight matrix is (out, in).
#pragma once

#include "moe/core/version.hpp"  // first: an older language is refused before anything else is read

#include <Eigen/Core>
#include <type_traits>

#if !EIGEN_VERSION_AT_LEAST(3, 4, 0)
#error "moe needs Eigen 3.4 or newer"
#endif

MOE_NAMESPACE_BEGIN

using Index = Eigen::Index;

/// Outputs side by side in a panel of Weights, and values in a Chunk. What is cut into columns (the stages of an
/// expert) is cut at multiples of it.
inline constexpr Index panel_width = 16;

/// Row-major matrix of any size: a token is contiguous.
template <class S>
using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class S>
using Vector = Eigen::Matrix<S, Eigen::Dynamic, 1>;

/// A view of rows: any row-major matrix, block of rows or columns, or map whose inner stride is 1.
template <class S>
using ConstMatrixRef = Eigen::Ref<const Matrix<S>, 0, Eigen::OuterStride<>>;

/// The same, to write into.
template <class S>
using MatrixRef = Eigen::Ref<Matrix<S>, 0, Eigen::OuterStride<>>;

namespace detail {

/// What every part on a scalar type asserts; one sentence for each type that will not do.
template <class S>
struct ComputesIn {
  static_assert(std::is_floating_point_v<S> && sizeof(S) >= sizeof(float),
                "moe: layers and their parts compute in float or double; this scalar type is another (files may hold "
                "narrower ones: moe/io/)");
  static constexpr bool is_known = true;
};

/// S, or, where nobody named one, the scalar type of these rows.
template <class S, class Rows>
using NamedOrOwnScalar = std::conditional_t<std::is_void_v<S>, typename Rows::Scalar, S>;

}  // namespace detail

MOE_NAMESPACE_END
