// DynMoE's diversity loss: the experts' router rows should point in different directions and stay short.
#pragma once

#include <cmath>

#include "moe/core/core.hpp"

MOE_NAMESPACE_BEGIN

/// ||W^ W^' - 1||_F + mean over experts of |w_e|, W^ the rows of weight_ED divided by their lengths (Guo et al. 2024,
/// "Dynamic Mixture of Experts", as its code has it; the paper's text squares the first norm). A loss on a parameter:
/// add its gradient to the router's.
struct ExpertDiversityLoss {
  double coefficient = 1e-2;
  bool squared = false;  ///< true: the paper's text.

  template <class S>
  S value(const Matrix<S>& weight_ED) const {
    Matrix<S> direction = weight_ED;
    S lengths = 0;
    for (Index e = 0; e < direction.rows(); ++e) {
      lengths += length(weight_ED, e);
      direction.row(e) /= length(weight_ED, e);
    }
    const S overlap = excess(direction).squaredNorm();
    return (squared ? overlap : std::sqrt(overlap)) + lengths / static_cast<S>(weight_ED.rows());
  }

  /// dweight_ED += coefficient * d value.
  template <class S>
  void backward(const Matrix<S>& weight_ED, Matrix<S>& dweight_ED) const {
    require(detail::has_finite_bits(coefficient), "ExpertDiversityLoss: coefficient is ", coefficient,
            ", it must be finite");
    require_shape("ExpertDiversityLoss: the gradient", dweight_ED, weight_ED.rows(), weight_ED.cols());
    const Index experts = weight_ED.rows();
    Matrix<S> direction = weight_ED;
    for (Index e = 0; e < experts; ++e) direction.row(e) /= length(weight_ED, e);
    const Matrix<S> matrix = excess(direction);
    const S norm = matrix.norm();
    // d ||M||^2 = 4 M W^ . dW^ for M = W^ W^' - 1; d ||M|| = that / (2 ||M||); then through the division by the length.
    const S factor = squared ? S(4) : norm > 0 ? S(2) / norm : S(0);
    for (Index e = 0; e < experts; ++e) {
      Vector<S> d = Vector<S>::Zero(weight_ED.cols());
      for (Index f = 0; f < experts; ++f) d += factor * matrix(e, f) * direction.row(f).transpose();
      const Vector<S> u = direction.row(e).transpose();
      const Vector<S> total = (d - u.dot(d) * u) / length(weight_ED, e) + u / static_cast<S>(experts);
      dweight_ED.row(e) += static_cast<S>(coefficient) * total.transpose();
    }
  }

 private:
  template <class S>
  static S length(const Matrix<S>& weight_ED, Index e) {
    const S norm = weight_ED.row(e).norm();
    require(norm > 0, "ExpertDiversityLoss: the row of expert ", e, " is 0, it has no direction");
    return norm;
  }

  template <class S>
  static Matrix<S> excess(const Matrix<S>& direction) {
    Matrix<S> matrix(direction.rows(), direction.rows());
    for (Index e = 0; e < matrix.rows(); ++e)
      for (Index f = 0; f < matrix.cols(); ++f)
        matrix(e, f) = direction.row(e).dot(direction.row(f)) - (e == f ? S(1) : S(0));
    return matrix;
  }
};

MOE_NAMESPACE_END
