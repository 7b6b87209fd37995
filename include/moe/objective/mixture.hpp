// The three objectives of the adaptive mixture of local experts. They need every expert's own output, so they are
// losses on slots: they take a plan and y_NO, and add to dy_NO and dweight_N, from which Layer::backward_from_slots
// goes on.
#pragma once

#include <cmath>

#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/objective/token_slots.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

/// sum over tokens of ||d - sum_e p_e o_e||^2 (Jacobs et al. 1991, eq. 1 there): the experts cooperate on a blend.
struct CooperativeLoss {
  template <class S>
  S value(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO) const {
    detail::check_slots<S>(plan, y_NO, target_TO);
    detail::Wide<S> sum = 0;
    Vector<S> residual;
    for_each_residual<S>(plan, y_NO, target_TO, residual, [&](const Index*, const Index*) {
      sum += detail::dot_rows(residual.data(), residual.data(), residual.size());
    });
    return static_cast<S>(sum);
  }

  /// dy_NO and dweight_N += scale * d(value).
  template <class S>
  void backward(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO,
                std::type_identity_t<S> scale, detail::WrittenRows<S> dy_NO, detail::WrittenVector<S> dweight_N) const {
    detail::check_slots<S>(plan, y_NO, target_TO);
    detail::check_slots_gradient<S>(plan, y_NO, dy_NO, dweight_N);
    const S twice = S(2) * scale;
    Vector<S> residual;
    for_each_residual<S>(plan, y_NO, target_TO, residual, [&](const Index* slot, const Index* end) {
      for (; slot != end; ++slot) {
        detail::add_scaled_row(twice * detail::weight_of_slot(plan, *slot), residual.data(), residual.size(),
                               detail::row_at(dy_NO, *slot));
        dweight_N.data()[*slot] +=
            twice * detail::dot_rows(detail::row_at(y_NO, *slot), residual.data(), residual.size());
      }
    });
  }

 private:
  /// Calls f(slots begin, end) with `residual` = sum_e p_e o_e - d.
  template <class S, class F>
  static void for_each_residual(const Plan<S>& plan, const ConstMatrixRef<S>& y_NO, const ConstMatrixRef<S>& target_TO,
                                Vector<S>& residual, F&& f) {
    residual.resize(y_NO.cols());
    detail::for_each_token_with_slots(plan, [&](Index t, const Index* begin, const Index* end) {
      detail::set_scaled_row(S(-1), detail::row_at(target_TO, t), residual.size(), residual.data());
      for (const Index* slot = begin; slot != end; ++slot)
        detail::add_scaled_row(detail::weight_of_slot(plan, *slot), detail::row_at(y_NO, *slot), residual.size(),
                               residual.data());
      f(begin, end);
    });
  }
};

/// sum over tokens of sum_e p_e ||d - o_e||^2 (Jacobs et al. 1991, eq. 2 there): each expert answers alone.
struct CompetitiveLoss {
  template <class S>
  S value(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO) const {
    detail::check_slots<S>(plan, y_NO, target_TO);
    detail::Wide<S> sum = 0;
    detail::for_each_token_with_slots(plan, [&](Index t, const Index* slot, const Index* end) {
      for (; slot != end; ++slot)
        sum += detail::weight_of_slot(plan, *slot) *
               detail::squared_distance(detail::row_at(target_TO, t), detail::row_at(y_NO, *slot), y_NO.cols());
    });
    return static_cast<S>(sum);
  }

  /// dy_NO and dweight_N += scale * d(value).
  template <class S>
  void backward(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO,
                std::type_identity_t<S> scale, detail::WrittenRows<S> dy_NO, detail::WrittenVector<S> dweight_N) const {
    detail::check_slots<S>(plan, y_NO, target_TO);
    detail::check_slots_gradient<S>(plan, y_NO, dy_NO, dweight_N);
    detail::for_each_token_with_slots(plan, [&](Index t, const Index* slot, const Index* end) {
      for (; slot != end; ++slot) {
        const S *d = detail::row_at(target_TO, t), *o = detail::row_at(y_NO, *slot);
        detail::add_scaled_difference(S(2) * scale * detail::weight_of_slot(plan, *slot), o, d, y_NO.cols(),
                                      detail::row_at(dy_NO, *slot));
        dweight_N.data()[*slot] += scale * detail::squared_distance(d, o, y_NO.cols());
      }
    });
  }
};

/// -sum over tokens of log sum_e p_e exp(-||d - o_e||^2 / (2 variance)), without the Gaussian's constant (Jacobs et al.
/// 1991, eq. 3 there): each expert is pulled towards the target in proportion to its responsibility. Computed by
/// log-sum-exp, so that targets far from every expert give no underflow.
struct MixtureNegativeLogLikelihood {
  double variance = 1;

  template <class S>
  S value(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO) const {
    detail::Wide<S> sum = 0;
    Vector<S> fit_N;
    for_each_fit<S>(plan, y_NO, target_TO, fit_N,
                    [&](Index, const Index*, const Index*, S log_likelihood) { sum -= log_likelihood; });
    return static_cast<S>(sum);
  }

  /// log sum_e p_e exp(...) of each token (T); 0 where a token has no slot.
  template <class S>
  Vector<S> log_likelihoods(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO) const {
    Vector<S> fit_N, result_T = Vector<S>::Zero(plan.tokens());
    for_each_fit<S>(plan, y_NO, target_TO, fit_N, [&](Index t, const Index*, const Index*, S log_likelihood) {
      result_T.data()[t] = log_likelihood;
    });
    return result_T;
  }

  /// The posterior probability, after seeing the target, that it came from the slot's expert (N).
  template <class S>
  Vector<S> responsibilities(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO) const {
    Vector<S> fit_N;
    for_each_fit<S>(plan, y_NO, target_TO, fit_N, [&](Index, const Index* slot, const Index* end, S log_likelihood) {
      detail::make_responsibilities(plan, slot, end, log_likelihood, fit_N);
    });
    return fit_N;
  }

  /// dy_NO and dweight_N += scale * d(value). With h the responsibility: d o_e = h (o_e - d) / variance, and d p_e =
  /// -h / p_e.
  template <class S>
  void backward(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO,
                std::type_identity_t<S> scale, detail::WrittenRows<S> dy_NO, detail::WrittenVector<S> dweight_N) const {
    detail::check_slots<S>(plan, y_NO, target_TO);
    detail::check_slots_gradient<S>(plan, y_NO, dy_NO, dweight_N);
    Vector<S> fit_N;
    for_each_fit<S>(plan, y_NO, target_TO, fit_N, [&](Index t, const Index* slot, const Index* end, S log_likelihood) {
      for (; slot != end; ++slot) {
        const S p = detail::weight_of_slot(plan, *slot);
        const S ratio = p > 0 ? scale * std::exp(fit_N.data()[*slot] - log_likelihood) : S(0);  // scale * h / p
        detail::add_scaled_difference(p * ratio / static_cast<S>(variance), detail::row_at(y_NO, *slot),
                                      detail::row_at(target_TO, t), y_NO.cols(), detail::row_at(dy_NO, *slot));
        dweight_N.data()[*slot] -= ratio;
      }
    });
  }

 private:
  /// Calls f(token, slots begin, end, log sum_e p_e exp(fit_e)) with fit_N = -||d - o_e||^2 / (2 variance).
  template <class S, class F>
  void for_each_fit(const Plan<S>& plan, const ConstMatrixRef<S>& y_NO, const ConstMatrixRef<S>& target_TO,
                    Vector<S>& fit_N, F&& f) const {
    require(detail::has_finite_bits(variance) && variance > 0, "MixtureNegativeLogLikelihood: variance is ", variance,
            ", it must be finite and more than 0");
    detail::check_slots<S>(plan, y_NO, target_TO);
    fit_N.resize(plan.slots());
    detail::for_each_token_with_slots(plan, [&](Index t, const Index* begin, const Index* end) {
      for (const Index* slot = begin; slot != end; ++slot)
        fit_N.data()[*slot] =
            -detail::squared_distance(detail::row_at(target_TO, t), detail::row_at(y_NO, *slot), y_NO.cols()) /
            static_cast<S>(2 * variance);
      f(t, begin, end, detail::log_mixture(plan, fit_N, begin, end));
    });
  }
};

MOE_NAMESPACE_END
