// DynMoE's diversity loss: the experts' router rows should point in different directions and stay short.
#pragma once

#include <cmath>
#include <string_view>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/objective/row_overlaps.hpp"

MOE_NAMESPACE_BEGIN

/// ||W^ W^' - 1||_F + mean over experts of |w_e|, W^ the rows of weight_ED divided by their lengths (Guo et al. 2024,
/// "Dynamic Mixture of Experts", as its code has it, with a coefficient of 0.01; the paper's text squares the first
/// norm). A loss on a parameter: its gradient is added to the router's.
struct ExpertDiversityLoss {
  bool squared = false;  ///< true: the paper's text.

  template <class S>
  S value(const Matrix<S>& weight_ED) const {
    const detail::Directions<S> direction(name, weight_ED);
    detail::Wide<S> lengths = 0;
    for (Index e = 0; e < weight_ED.rows(); ++e) lengths += direction.length_E.data()[e];
    const detail::Wide<S> sum = overlap(direction.row_ED);
    return static_cast<S>((squared ? sum : std::sqrt(sum)) + lengths / static_cast<detail::Wide<S>>(weight_ED.rows()));
  }

  /// dweight_ED += scale * d(value).
  template <class S>
  void backward(const Matrix<S>& weight_ED, std::type_identity_t<S> scale, Matrix<S>& dweight_ED) const {
    require_shape("ExpertDiversityLoss: the gradient", dweight_ED, weight_ED.rows(), weight_ED.cols());
    const Index experts = weight_ED.rows();
    const detail::Directions<S> direction(name, weight_ED);
    // d ||M||^2 = 4 M W^ . dW^ for M = W^ W^' - 1; d ||M|| = that / (2 ||M||).
    const auto norm = static_cast<S>(std::sqrt(overlap(direction.row_ED)));
    const S factor = squared ? S(4) : norm > 0 ? S(2) / norm : S(0);
    Matrix<S> ddirection_ED = Matrix<S>::Zero(experts, weight_ED.cols());
    detail::add_excess_gradient(
        direction.row_ED, [&](S excess) { return factor * excess; }, ddirection_ED);
    direction.backward(ddirection_ED, [&](Index e, Index i, S slope) {
      detail::row_at(dweight_ED, e)[i] +=
          scale * (slope + detail::row_at(direction.row_ED, e)[i] / static_cast<S>(experts));
    });
  }

 private:
  static constexpr std::string_view name = "ExpertDiversityLoss";

  /// ||W^ W^' - 1||_F^2
  template <class S>
  static detail::Wide<S> overlap(const Matrix<S>& direction_ED) {
    detail::Wide<S> sum = 0;
    detail::for_each_excess(direction_ED, [&](Index, Index, S excess) { sum += excess * excess; });
    return sum;
  }
};

MOE_NAMESPACE_END
