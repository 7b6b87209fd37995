// Matrices to test with, and whether two hold the same bits.
#pragma once

#include <cstdint>
#include <limits>
#include <random>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "support/bits.hpp"

namespace support {

/// Of any expressions of one scalar type.
template <class A, class B>
bool same_bits(const Eigen::MatrixBase<A>& a, const Eigen::MatrixBase<B>& b) {
  using S = typename A::Scalar;
  return same_bits(moe::Matrix<S>(a), moe::Matrix<S>(b));
}

/// All parameters of two models of one type.
template <class Model>
bool same_parameters(const Model& a, const Model& b) {
  return same_bits(moe::flatten(a), moe::flatten(b));
}

template <class S>
moe::Matrix<S> random_matrix(moe::Index rows, moe::Index columns, std::uint64_t seed) {
  std::mt19937_64 generator{seed};
  return moe::random_matrix<S>(rows, columns, generator);
}

/// Row by row, term by term; Eigen's own product takes the compiler seconds.
template <class S>
moe::Matrix<S> product(const moe::Matrix<S>& a, const moe::Matrix<S>& b) {
  moe::Matrix<S> c = moe::Matrix<S>::Zero(a.rows(), b.cols());
  for (moe::Index i = 0; i < a.rows(); ++i)
    for (moe::Index k = 0; k < a.cols(); ++k) c.row(i) += a(i, k) * b.row(k);
  return c;
}

template <class S>
inline constexpr S nan_of = std::numeric_limits<S>::quiet_NaN();
template <class S>
inline constexpr S infinity_of = std::numeric_limits<S>::infinity();

/// Every entry NaN, sizes as they are: what is read before it is written shows.
template <class Dense>
void poison(Dense& dense) {
  dense.setConstant(nan_of<typename Dense::Scalar>);
}

}  // namespace support
