// The dense hierarchical mixture of 1994: the likelihood of a layer of layers, and its gradient.
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/objective/mixture.hpp"
#include "moe/objective/token_slots.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

/// -sum over tokens of log sum_i g_i sum_j g_ji exp(-||d - mu_ij||^2 / (2 variance)), without the Gaussian's constant
/// (Jordan and Jacobs 1994, "Hierarchical mixtures of experts and the EM algorithm", sections 2 and 3). The outer
/// layer's experts are layers whose gates, like the outer one, are Softmax as a rule.
struct HierarchicalMixtureLoss {
  double variance = 1;

  /// Of the pass that `tape`, an OuterLayer::Tape, recorded.
  template <class OuterTape, class S = typename OuterTape::Scalar>
  S value(const OuterTape& tape, detail::GivenRows<S> target_TO) const {
    detail::Wide<S> sum = 0;
    Vector<S> fit_N;
    measure_fits<S>(tape, target_TO, fit_N);
    for_each_token(tape.plan, fit_N,
                   [&](Index, const Index*, const Index*, S log_likelihood) { sum -= log_likelihood; });
    return static_cast<S>(sum);
  }

  /// Posterior probability of each outer slot's branch (N of the outer plan).
  template <class OuterTape, class S = typename OuterTape::Scalar>
  Vector<S> responsibilities(const OuterTape& tape, detail::GivenRows<S> target_TO) const {
    Vector<S> fit_N;
    measure_fits<S>(tape, target_TO, fit_N);
    for_each_token(tape.plan, fit_N, [&](Index, const Index* slot, const Index* end, S log_likelihood) {
      detail::make_responsibilities(tape.plan, slot, end, log_likelihood, fit_N);
    });
    return fit_N;
  }

  /// gradient += scale * d(value), and the auxiliary losses' (times tape.loss_scale); returns dx_TD. With h_i the outer
  /// posterior, each branch sees its own mixture likelihood times h_i, and d g_i = -h_i / g_i.
  template <class Outer, class Exec = DefaultExecutor, class S = typename Outer::Scalar>
  Matrix<S> backward(const Outer& outer, const std::type_identity_t<Batch<S>>& batch, detail::GivenRows<S> target_TO,
                     typename Outer::Tape& tape, std::type_identity_t<S> scale, Outer& gradient,
                     const Exec& executor = {}) const {
    Matrix<S> dx_TD(batch.tokens(), batch.x_TD.cols());
    outer.check_backward(batch, tape, dx_TD, gradient);
    Vector<S> fit_N;
    measure_fits<S>(tape, target_TO, fit_N);
    Vector<S> share_N(fit_N.size()), dweight_N(fit_N.size());
    for_each_token(tape.plan, fit_N, [&](Index, const Index* slot, const Index* end, S log_likelihood) {
      for (; slot != end; ++slot) {
        const S g = detail::weight_of_slot(tape.plan, *slot);
        const S ratio = g > 0 ? scale * std::exp(fit_N.data()[*slot] - log_likelihood) : S(0);
        share_N.data()[*slot] = g * ratio;
        dweight_N.data()[*slot] = -ratio;
      }
    });
    Matrix<S> dx_ND(tape.x_ND.rows(), tape.x_ND.cols());
    for (Index e = 0; e < tape.plan.experts(); ++e) {
      const Index begin = tape.plan.begin_of(e), rows = tape.plan.rows_of(e);
      if (rows == 0) continue;
      const auto at = static_cast<std::size_t>(e);
      auto& inner = tape.experts[at];
      Matrix<S> dy = Matrix<S>::Zero(inner.y_NO.rows(), inner.y_NO.cols()), dx(rows, tape.x_ND.cols());
      Vector<S> dweight = Vector<S>::Zero(inner.plan.slots());
      MixtureNegativeLogLikelihood{variance}.backward<S>(inner.plan, inner.y_NO, branch_target<S>(tape, e, target_TO),
                                                         1, dy, dweight);
      for (Index n = 0; n < inner.plan.slots(); ++n) {
        const S share = share_N.data()[begin + inner.plan.token[static_cast<std::size_t>(n)]];
        detail::set_scaled_row(share, detail::row_at(dy, n), dy.cols(), detail::row_at(dy, n));
        dweight.data()[n] *= share;
      }
      const Matrix<S> x = tape.x_ND.middleRows(begin, rows);
      outer.experts[at].backward_from_slots(x, dy, dweight, inner, dx, gradient.experts[at], executor);
      dx_ND.middleRows(begin, rows) = dx;
    }
    outer.backward_from_inputs(batch, dx_ND, dweight_N, tape, dx_TD, gradient, executor);
    return dx_TD;
  }

 private:
  /// The targets of the tokens in branch e, in the order of its slots.
  template <class S, class OuterTape>
  static Matrix<S> branch_target(const OuterTape& tape, Index e, const ConstMatrixRef<S>& target_TO) {
    Matrix<S> target(tape.plan.rows_of(e), target_TO.cols());
    for (Index r = 0; r < target.rows(); ++r)
      target.row(r) = target_TO.row(tape.plan.token[static_cast<std::size_t>(tape.plan.begin_of(e) + r)]);
    return target;
  }

  /// fit_N = log sum_j g_ji exp(-||d - mu_ij||^2 / (2 variance)) of each outer slot.
  template <class S, class OuterTape>
  void measure_fits(const OuterTape& tape, const ConstMatrixRef<S>& target_TO, Vector<S>& fit_N) const {
    require(target_TO.rows() == tape.plan.tokens(), "HierarchicalMixtureLoss: ", target_TO.rows(), " targets for ",
            tape.plan.tokens(), " tokens");
    fit_N.resize(tape.plan.slots());
    for (Index e = 0; e < tape.plan.experts(); ++e) {
      if (tape.plan.rows_of(e) == 0) continue;
      const auto& inner = tape.experts[static_cast<std::size_t>(e)];
      const Vector<S> fit = MixtureNegativeLogLikelihood{variance}.log_likelihoods<S>(
          inner.plan, inner.y_NO, branch_target<S>(tape, e, target_TO));
      fit_N.segment(tape.plan.begin_of(e), tape.plan.rows_of(e)) = fit;
    }
  }

  /// Calls f(token, slots begin, end, log sum_i g_i exp(fit_i)).
  template <class S, class F>
  static void for_each_token(const Plan<S>& plan, const Vector<S>& fit_N, F&& f) {
    detail::for_each_token_with_slots(plan, [&](Index t, const Index* begin, const Index* end) {
      f(t, begin, end, detail::log_mixture(plan, fit_N, begin, end));
    });
  }
};

MOE_NAMESPACE_END
