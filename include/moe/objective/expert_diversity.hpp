// DynMoE's diversity loss: the experts' router rows should point in different directions and stay short.
#pragma once

#include <cmath>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"

MOE_NAMESPACE_BEGIN

/// ||W^ W^' - 1||_F + mean over experts of |w_e|, W^ the rows of weight_ED divided by their lengths (Guo et al. 2024,
/// "Dynamic Mixture of Experts", as its code has it, with a coefficient of 0.01; the paper's text squares the first
/// norm). A loss on a parameter: its gradient is added to the router's.
struct ExpertDiversityLoss {
  bool squared = false;  ///< true: the paper's text.

  template <class S>
  S value(const Matrix<S>& weight_ED) const {
    Matrix<S> direction_ED;
    Vector<S> length_E;
    divide(weight_ED, direction_ED, length_E);
    detail::Wide<S> lengths = 0, overlap = 0;
    for (Index e = 0; e < weight_ED.rows(); ++e) lengths += length_E.data()[e];
    for_each_excess(direction_ED, [&](Index, Index, S excess) { overlap += excess * excess; });
    return static_cast<S>((squared ? overlap : std::sqrt(overlap)) +
                          lengths / static_cast<detail::Wide<S>>(weight_ED.rows()));
  }

  /// dweight_ED += scale * d(value).
  template <class S>
  void backward(const Matrix<S>& weight_ED, std::type_identity_t<S> scale, Matrix<S>& dweight_ED) const {
    require_shape("ExpertDiversityLoss: the gradient", dweight_ED, weight_ED.rows(), weight_ED.cols());
    const Index experts = weight_ED.rows(), width = weight_ED.cols();
    Matrix<S> direction_ED;
    Vector<S> length_E;
    divide(weight_ED, direction_ED, length_E);
    detail::Wide<S> overlap = 0;
    for_each_excess(direction_ED, [&](Index, Index, S excess) { overlap += excess * excess; });
    // d ||M||^2 = 4 M W^ . dW^ for M = W^ W^' - 1; d ||M|| = that / (2 ||M||); then through the division by the length.
    const auto norm = static_cast<S>(std::sqrt(overlap));
    const S factor = squared ? S(4) : norm > 0 ? S(2) / norm : S(0);
    Matrix<S> ddirection_ED = Matrix<S>::Zero(experts, width);
    Vector<S> excess_E(experts);  // of one row
    for_each_excess(direction_ED, [&](Index e, Index other, S excess) {
      excess_E.data()[other] = factor * excess;
      if (other + 1 < experts) return;
      const auto add = [&](Index f, Index first, Index count, S* sums) {
        detail::add_scaled_row(excess_E.data()[f], detail::row_at(direction_ED, f) + first, count, sums);
        return true;
      };
      detail::add_terms<S>(experts, width, detail::row_at(ddirection_ED, e), add);
    });
    for (Index e = 0; e < experts; ++e) {
      const S *u = detail::row_at(direction_ED, e), *d = detail::row_at(ddirection_ED, e);
      const S along = detail::dot_rows(u, d, width), length = length_E.data()[e];
      S* dweight = detail::row_at(dweight_ED, e);
      for (Index i = 0; i < width; ++i)
        dweight[i] += scale * ((d[i] - along * u[i]) / length + u[i] / static_cast<S>(experts));
    }
  }

 private:
  /// The rows' lengths, and the rows divided by them.
  template <class S>
  static void divide(const Matrix<S>& weight_ED, Matrix<S>& direction_ED, Vector<S>& length_E) {
    const Index experts = weight_ED.rows(), width = weight_ED.cols();
    direction_ED.resize(experts, width);
    length_E.resize(experts);
    for (Index e = 0; e < experts; ++e) {
      const S* w = detail::row_at(weight_ED, e);
      const S length = std::sqrt(detail::dot_rows(w, w, width));
      require(length > 0, "ExpertDiversityLoss: the row of expert ", e, " is 0, it has no direction");
      length_E.data()[e] = length;
      for (Index i = 0; i < width; ++i) detail::row_at(direction_ED, e)[i] = w[i] / length;
    }
  }

  /// Calls f(e, f, entry (e, f) of W^ W^' - 1).
  template <class S, class F>
  static void for_each_excess(const Matrix<S>& direction_ED, F&& f) {
    for (Index e = 0; e < direction_ED.rows(); ++e)
      for (Index other = 0; other < direction_ED.rows(); ++other)
        f(e, other,
          detail::dot_rows(detail::row_at(direction_ED, e), detail::row_at(direction_ED, other), direction_ED.cols()) -
              (e == other ? S(1) : S(0)));
  }
};

MOE_NAMESPACE_END
