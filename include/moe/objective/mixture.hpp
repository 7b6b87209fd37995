// The three objectives of the adaptive mixture of local experts. They need every expert's own output, so they are
// losses on slots: they take a plan and y_NO, and give dy_NO and dweight_N, from which Layer::backward_from_slots goes
// on.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
void check_mixture(const Plan<S>& plan, ConstMatrixRef<S> y_NO, ConstMatrixRef<S> target_TO) {
  require(y_NO.rows() == plan.slots(), "mixture loss: ", y_NO.rows(), " rows of outputs for ", plan.slots(), " slots");
  require(target_TO.rows() == plan.tokens() && target_TO.cols() == y_NO.cols(), "mixture loss: the target is ",
          target_TO.rows(), " x ", target_TO.cols(), ", it must be ", plan.tokens(), " x ", y_NO.cols());
}

template <class S>
void check_mixture_gradient(const Plan<S>& plan, ConstMatrixRef<S> y_NO, ConstMatrixRef<S> dy_NO) {
  require(dy_NO.rows() == plan.slots() && dy_NO.cols() == y_NO.cols(), "mixture loss: the outputs' gradient is ",
          dy_NO.rows(), " x ", dy_NO.cols(), ", the outputs are ", y_NO.rows(), " x ", y_NO.cols());
}

/// Calls f(token, its slots begin, end) for the tokens that have slots; the others, padding among them, do not count.
template <class S, class F>
void for_each_mixture(const Plan<S>& plan, F&& f) {
  for (Index t = 0; t < plan.tokens(); ++t) {
    const Index* begin = plan.token_slots.data() + plan.first_of_token[static_cast<std::size_t>(t)];
    const Index* end = plan.token_slots.data() + plan.first_of_token[static_cast<std::size_t>(t) + 1];
    if (begin != end) f(t, begin, end);
  }
}

/// log sum over the slots of weight * exp(fit), the largest fit taken out.
template <class S>
S log_mixture(const Plan<S>& plan, const Vector<S>& fit_N, const Index* begin, const Index* end) {
  S best = -std::numeric_limits<S>::infinity(), sum = 0;
  for (const Index* slot = begin; slot != end; ++slot)
    if (plan.weight[static_cast<std::size_t>(*slot)] > 0) best = (std::max)(best, fit_N(*slot));
  for (const Index* slot = begin; slot != end; ++slot) {
    const S p = plan.weight[static_cast<std::size_t>(*slot)];
    if (p > 0) sum += p * std::exp(fit_N(*slot) - best);
  }
  return best + std::log(sum);
}

}  // namespace detail

/// sum over tokens of ||d - sum_e p_e o_e||^2 (Jacobs et al. 1991, eq. 1 there): the experts cooperate on a blend.
struct CooperativeLoss {
  template <class S>
  S value(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO) const {
    S sum = 0;
    Vector<S> residual;
    for_each_residual<S>(plan, y_NO, target_TO, residual,
                         [&](const Index*, const Index*) { sum += residual.squaredNorm(); });
    return sum;
  }

  template <class S>
  void backward(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO,
                detail::WrittenRows<S> dy_NO, Vector<S>& dweight_N) const {
    detail::check_mixture<S>(plan, y_NO, target_TO);
    detail::check_mixture_gradient<S>(plan, y_NO, dy_NO);
    detail::resize(dweight_N, plan.slots());
    Vector<S> residual;
    for_each_residual<S>(plan, y_NO, target_TO, residual, [&](const Index* slot, const Index* end) {
      for (; slot != end; ++slot) {
        dy_NO.row(*slot) = S(2) * plan.weight[static_cast<std::size_t>(*slot)] * residual.transpose();
        dweight_N(*slot) = S(2) * y_NO.row(*slot).dot(residual);
      }
    });
  }

 private:
  /// Calls f(slots begin, end) with `residual` = sum_e p_e o_e - d.
  template <class S, class F>
  static void for_each_residual(const Plan<S>& plan, ConstMatrixRef<S> y_NO, ConstMatrixRef<S> target_TO,
                                Vector<S>& residual, F&& f) {
    detail::check_mixture<S>(plan, y_NO, target_TO);
    detail::for_each_mixture(plan, [&](Index t, const Index* begin, const Index* end) {
      residual = -target_TO.row(t).transpose();
      for (const Index* slot = begin; slot != end; ++slot)
        residual += plan.weight[static_cast<std::size_t>(*slot)] * y_NO.row(*slot).transpose();
      f(begin, end);
    });
  }
};

/// sum over tokens of sum_e p_e ||d - o_e||^2 (Jacobs et al. 1991, eq. 2 there): each expert answers alone.
struct CompetitiveLoss {
  template <class S>
  S value(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO) const {
    detail::check_mixture<S>(plan, y_NO, target_TO);
    S sum = 0;
    detail::for_each_mixture(plan, [&](Index t, const Index* slot, const Index* end) {
      for (; slot != end; ++slot)
        sum += plan.weight[static_cast<std::size_t>(*slot)] * (target_TO.row(t) - y_NO.row(*slot)).squaredNorm();
    });
    return sum;
  }

  template <class S>
  void backward(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO,
                detail::WrittenRows<S> dy_NO, Vector<S>& dweight_N) const {
    detail::check_mixture<S>(plan, y_NO, target_TO);
    detail::check_mixture_gradient<S>(plan, y_NO, dy_NO);
    detail::resize(dweight_N, plan.slots());
    detail::for_each_mixture(plan, [&](Index t, const Index* slot, const Index* end) {
      for (; slot != end; ++slot) {
        dy_NO.row(*slot) = S(2) * plan.weight[static_cast<std::size_t>(*slot)] * (y_NO.row(*slot) - target_TO.row(t));
        dweight_N(*slot) = (target_TO.row(t) - y_NO.row(*slot)).squaredNorm();
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
    S sum = 0;
    Vector<S> fit_N;
    for_each_fit<S>(plan, y_NO, target_TO, fit_N,
                    [&](Index, const Index*, const Index*, S log_likelihood) { sum -= log_likelihood; });
    return sum;
  }

  /// log sum_e p_e exp(...) of each token (T); 0 where a token has no slot.
  template <class S>
  Vector<S> log_likelihoods(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO) const {
    Vector<S> fit_N, result_T = Vector<S>::Zero(plan.tokens());
    for_each_fit<S>(plan, y_NO, target_TO, fit_N,
                    [&](Index t, const Index*, const Index*, S log_likelihood) { result_T(t) = log_likelihood; });
    return result_T;
  }

  /// The posterior probability, after seeing the target, that it came from the slot's expert (N).
  template <class S>
  Vector<S> responsibilities(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO) const {
    Vector<S> fit_N;
    for_each_fit<S>(plan, y_NO, target_TO, fit_N, [&](Index, const Index* slot, const Index* end, S log_likelihood) {
      for (; slot != end; ++slot)
        fit_N(*slot) = plan.weight[static_cast<std::size_t>(*slot)] * std::exp(fit_N(*slot) - log_likelihood);
    });
    return fit_N;
  }

  /// With h the responsibility: d o_e = h (o_e - d) / variance, and d p_e = -h / p_e.
  template <class S>
  void backward(const Plan<S>& plan, detail::GivenRows<S> y_NO, detail::GivenRows<S> target_TO,
                detail::WrittenRows<S> dy_NO, Vector<S>& dweight_N) const {
    detail::check_mixture_gradient<S>(plan, y_NO, dy_NO);
    for_each_fit<S>(plan, y_NO, target_TO, dweight_N,
                    [&](Index t, const Index* slot, const Index* end, S log_likelihood) {
                      for (; slot != end; ++slot) {
                        const S p = plan.weight[static_cast<std::size_t>(*slot)];
                        const S ratio = p > 0 ? std::exp(dweight_N(*slot) - log_likelihood) : S(0);  // h / p
                        dy_NO.row(*slot) = p * ratio / static_cast<S>(variance) * (y_NO.row(*slot) - target_TO.row(t));
                        dweight_N(*slot) = -ratio;
                      }
                    });
  }

 private:
  /// Calls f(token, slots begin, end, log sum_e p_e exp(fit_e)) with fit_N = -||d - o_e||^2 / (2 variance).
  template <class S, class F>
  void for_each_fit(const Plan<S>& plan, ConstMatrixRef<S> y_NO, ConstMatrixRef<S> target_TO, Vector<S>& fit_N,
                    F&& f) const {
    require(detail::has_finite_bits(variance) && variance > 0, "MixtureNegativeLogLikelihood: variance is ", variance,
            ", it must be finite and more than 0");
    detail::check_mixture<S>(plan, y_NO, target_TO);
    detail::resize(fit_N, plan.slots());
    detail::for_each_mixture(plan, [&](Index t, const Index* begin, const Index* end) {
      for (const Index* slot = begin; slot != end; ++slot)
        fit_N(*slot) = -(target_TO.row(t) - y_NO.row(*slot)).squaredNorm() / static_cast<S>(2 * variance);
      f(t, begin, end, detail::log_mixture(plan, fit_N, begin, end));
    });
  }
};

MOE_NAMESPACE_END
