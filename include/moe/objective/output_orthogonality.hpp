// The experts that a token chose should answer differently.
#pragma once

#include <cmath>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/objective/token_slots.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

/// sum over tokens of sum over pairs of its slots of (o_i . o_j)^2 / (|o_i|^2 |o_j|^2), the squared cosine of two
/// experts' outputs (arXiv 2505.22323, in the form over pairs). An output of zeros is orthogonal to all. Needs y_NO, as
/// the mixture's objectives do; the weights are not in it.
struct OutputOrthogonalityLoss {
  template <class S>
  S value(const Plan<S>& plan, detail::GivenRows<S> y_NO) const {
    check<S>(plan, y_NO);
    detail::Wide<S> sum = 0;
    for_each_pair<S>(plan, y_NO, [&](Index, Index, S cosine, S, S) { sum += cosine * cosine; });
    return static_cast<S>(sum);
  }

  /// dy_NO += scale * d(value): for each pair, 2 cos (u_j - cos u_i) / |o_i| and the other way round, u the directions.
  template <class S>
  void backward(const Plan<S>& plan, detail::GivenRows<S> y_NO, std::type_identity_t<S> scale,
                detail::WrittenRows<S> dy_NO) const {
    check<S>(plan, y_NO);
    require_shape("OutputOrthogonalityLoss: the outputs' gradient", dy_NO, y_NO.rows(), y_NO.cols());
    const Index width = y_NO.cols();
    const auto add = [&](Index i, Index j, S cosine, S length_i, S length_j) {
      const S factor = S(2) * scale * cosine / length_i, *of_i = detail::row_at(y_NO, i),
              *of_j = detail::row_at(y_NO, j);
      S* to = detail::row_at(dy_NO, i);
      for (Index c = 0; c < width; ++c) to[c] += factor * (of_j[c] / length_j - cosine * (of_i[c] / length_i));
    };
    for_each_pair<S>(plan, y_NO, [&](Index i, Index j, S cosine, S length_i, S length_j) {
      add(i, j, cosine, length_i, length_j);
      add(j, i, cosine, length_j, length_i);
    });
  }

 private:
  template <class S>
  static void check(const Plan<S>& plan, const ConstMatrixRef<S>& y_NO) {
    require(y_NO.rows() == plan.slots(), "OutputOrthogonalityLoss: ", y_NO.rows(), " rows of outputs for ",
            plan.slots(), " slots");
  }

  /// Calls f(slot, other slot, cosine of their outputs, length, length) for all pairs of which none is 0.
  template <class S, class F>
  static void for_each_pair(const Plan<S>& plan, const ConstMatrixRef<S>& y_NO, F&& f) {
    const Index width = y_NO.cols();
    const auto product = [&](Index i, Index j) {
      return detail::dot_rows(detail::row_at(y_NO, i), detail::row_at(y_NO, j), width);
    };
    detail::for_each_token_with_slots(plan, [&](Index, const Index* begin, const Index* end) {
      for (const Index* i = begin; i != end; ++i) {
        const S length_i = std::sqrt(product(*i, *i));
        for (const Index* j = i + 1; j != end; ++j) {
          const S length_j = std::sqrt(product(*j, *j));
          if (length_i == 0 || length_j == 0) continue;
          f(*i, *j, product(*i, *j) / length_i / length_j, length_i, length_j);
        }
      }
    });
  }
};

MOE_NAMESPACE_END
