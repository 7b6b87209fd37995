// Losses that keep the experts' router rows apart.
#pragma once

#include <cmath>
#include <string_view>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/objective/row_overlaps.hpp"

MOE_NAMESPACE_BEGIN

/// ||W^ W^' - 1||_F^2, W^ the rows of weight_ED divided by their lengths (ERNIE 4.5, with coefficients of 1e-3 to
/// 1e-2). A loss on a parameter: its gradient is added to the router's. No gradient passes along a row: its length is
/// free.
struct RouterOrthogonalityLoss {
  bool mean_of_pairs = false;  ///< true: divided by E (E - 1), the number of pairs (marin); of one expert it is 0.

  /// Throws std::invalid_argument for a row of zeros, which has no direction.
  template <class S>
  S value(const Matrix<S>& weight_ED) const {
    const detail::Directions<S> direction(name, weight_ED);
    detail::Wide<S> sum = 0;
    detail::for_each_excess(direction.row_ED, [&](Index, Index, S excess) { sum += excess * excess; });
    return static_cast<S>(sum / static_cast<detail::Wide<S>>(pairs(weight_ED.rows())));
  }

  /// dweight_ED += scale * d(value).
  template <class S>
  void backward(const Matrix<S>& weight_ED, std::type_identity_t<S> scale, Matrix<S>& dweight_ED) const {
    require_shape("RouterOrthogonalityLoss: the gradient", dweight_ED, weight_ED.rows(), weight_ED.cols());
    const detail::Directions<S> direction(name, weight_ED);
    const S factor = S(4) * scale / static_cast<S>(pairs(weight_ED.rows()));
    Matrix<S> ddirection_ED = Matrix<S>::Zero(weight_ED.rows(), weight_ED.cols());
    detail::add_excess_gradient(
        direction.row_ED, [&](S excess) { return factor * excess; }, ddirection_ED);
    direction.backward(ddirection_ED, [&](Index e, Index i, S slope) { detail::row_at(dweight_ED, e)[i] += slope; });
  }

 private:
  static constexpr std::string_view name = "RouterOrthogonalityLoss";

  Index pairs(Index experts) const { return mean_of_pairs && experts > 1 ? experts * (experts - 1) : 1; }
};

/// sum of |W W' - 1| over all entries, W the rows of weight_ED as they are (SimBal, arXiv 2506.14038): similar tokens
/// stay with similar experts where the router's rows are orthonormal. A loss on a parameter; the derivative of |0| is
/// 0.
struct SimilarityBalanceLoss {
  template <class S>
  S value(const Matrix<S>& weight_ED) const {
    detail::Wide<S> sum = 0;
    detail::for_each_excess(weight_ED, [&](Index, Index, S excess) { sum += std::abs(excess); });
    return static_cast<S>(sum);
  }

  /// dweight_ED += scale * d(value).
  template <class S>
  void backward(const Matrix<S>& weight_ED, std::type_identity_t<S> scale, Matrix<S>& dweight_ED) const {
    require_shape("SimilarityBalanceLoss: the gradient", dweight_ED, weight_ED.rows(), weight_ED.cols());
    const auto slope = [&](S excess) { return S(2) * scale * (excess > 0 ? S(1) : excess < 0 ? S(-1) : excess); };
    detail::add_excess_gradient(weight_ED, slope, dweight_ED);
  }
};

MOE_NAMESPACE_END
