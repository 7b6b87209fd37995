// A weight matrix in the order in which the kernels read it.
#pragma once

#include <algorithm>
#include <concepts>
#include <type_traits>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

/// The weight (outputs, inputs) of a linear map, kept in panels of sixteen outputs: panel p holds, for each input one
/// after the other, the weights of outputs 16 p ... 16 p + 15, side by side; the last panel is narrower if need be. One
/// order for all three products of training: the panels are the right operand of the output, the left operand of the
/// input's gradient and the result of the weight's own, so that nothing is ever repacked.
///
/// `w(i, j)` and `matrix()` hide the order; for algebra take `matrix()`, change it and assign it back. What is done
/// entry by entry (optimisers, gradients' norms) works on `data()` or `array()`, in memory order.
template <class S>
class Weights {
  static_assert(detail::ComputesIn<S>::is_known);

 public:
  using Scalar = S;

  Weights() = default;
  Weights(Index outputs, Index inputs) : values_(outputs, inputs) {}  ///< Not initialised.
  template <class Derived>
  Weights(const Eigen::MatrixBase<Derived>& plain) {  // NOLINT(google-explicit-constructor)
    *this = plain;
  }

  template <class Derived>
  Weights& operator=(const Eigen::MatrixBase<Derived>& plain) {
    static_assert(std::is_same_v<typename Derived::Scalar, S>,
                  "moe::Weights: the matrix is of another scalar type; convert it with .cast<S>() where you mean it");
    const auto& source = plain.eval();  // a matrix itself is not copied
    resize(source.rows(), source.cols());
    for (Index i = 0; i < rows(); ++i)
      for (Index j = 0; j < cols(); ++j) (*this)(i, j) = source(i, j);
    return *this;
  }

  /// The same as a plain, row-major matrix.
  Matrix<S> matrix() const {
    return Matrix<S>::NullaryExpr(rows(), cols(), [this](Index i, Index j) { return (*this)(i, j); });
  }

  Index rows() const { return values_.rows(); }
  Index cols() const { return values_.cols(); }
  Index size() const { return values_.size(); }

  S& operator()(Index i, Index j) { return values_.data()[offset(i, j)]; }
  S operator()(Index i, Index j) const { return values_.data()[offset(i, j)]; }

  S* data() { return values_.data(); }
  const S* data() const { return values_.data(); }
  auto array() { return values_.array(); }
  auto array() const { return values_.array(); }

  void resize(Index outputs, Index inputs) {
    if (outputs == rows() && inputs == cols()) return;
    values_ = Matrix<S>();  // Eigen's cannot be destroyed after a change of size that found no memory
    values_ = Matrix<S>(outputs, inputs);
  }
  void setZero() { values_.setZero(); }
  void setZero(Index outputs, Index inputs) {
    resize(outputs, inputs);
    setZero();
  }
  S squaredNorm() const { return values_.squaredNorm(); }

  Weights& operator+=(const Weights& other) {
    require_shape("Weights: the addend", other, rows(), cols());
    values_ += other.values_;
    return *this;
  }
  friend bool operator==(const Weights& a, const Weights& b) {
    return a.rows() == b.rows() && a.cols() == b.cols() && a.values_ == b.values_;
  }

  Index panels() const { return (rows() + panel_width - 1) / panel_width; }
  Index width_of_panel(Index p) const { return (std::min)(panel_width, rows() - p * panel_width); }
  S* panel(Index p) { return data() + p * panel_width * cols(); }
  const S* panel(Index p) const { return data() + p * panel_width * cols(); }

 private:
  Index offset(Index i, Index j) const {
    eigen_assert(i >= 0 && i < rows() && j >= 0 && j < cols());
    const Index p = i / panel_width;
    return p * panel_width * cols() + j * width_of_panel(p) + i % panel_width;
  }

  Matrix<S> values_;  // of the same shape, its entries in the order of the panels
};

namespace detail {

/// A storage of weights that can be trained: its numbers lie in memory as they are computed with.
template <class W>
concept WritableStorage = requires(W& w) {
  { w.data() } -> std::same_as<typename W::Scalar*>;
};

/// The same weight in another storage.
template <class To, class From>
To weight_in(const From& w) {
  static_assert(std::is_same_v<typename To::Scalar, typename From::Scalar>,
                "moe: a storage of weights computes in another scalar type than the expert; storages of fewer bits "
                "compute in float");
  if constexpr (std::is_same_v<To, From> || WritableStorage<From>)
    return To(w);
  else
    return To(w.matrix());
}

}  // namespace detail

MOE_NAMESPACE_END
