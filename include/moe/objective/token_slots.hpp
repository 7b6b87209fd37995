// What the objectives on slots share: each token with the slots that its experts filled.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

#include "moe/core/core.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A gradient of the slots' weights, to be added to; another argument tells its scalar type.
template <class S>
using WrittenVector = std::type_identity_t<Eigen::Ref<Vector<S>>>;

template <class S>
void check_slots(const Plan<S>& plan, const ConstMatrixRef<S>& y_NO, const ConstMatrixRef<S>& target_TO) {
  require(y_NO.rows() == plan.slots(), "mixture loss: ", y_NO.rows(), " rows of outputs for ", plan.slots(), " slots");
  require(target_TO.rows() == plan.tokens() && target_TO.cols() == y_NO.cols(), "mixture loss: the target is ",
          target_TO.rows(), " x ", target_TO.cols(), ", it must be ", plan.tokens(), " x ", y_NO.cols());
}

template <class S>
void check_slots_gradient(const Plan<S>& plan, const ConstMatrixRef<S>& y_NO, const ConstMatrixRef<S>& dy_NO,
                          const Eigen::Ref<Vector<S>>& dweight_N) {
  require(dy_NO.rows() == plan.slots() && dy_NO.cols() == y_NO.cols(), "mixture loss: the outputs' gradient is ",
          dy_NO.rows(), " x ", dy_NO.cols(), ", the outputs are ", y_NO.rows(), " x ", y_NO.cols());
  require(dweight_N.size() == plan.slots(), "mixture loss: the weights' gradient has ", dweight_N.size(),
          " entries, there are ", plan.slots(), " slots");
}

/// Calls f(token, its slots begin, end) for the tokens that have slots; the others, padding among them, do not count.
template <class S, class F>
void for_each_token_with_slots(const Plan<S>& plan, F&& f) {
  for (Index t = 0; t < plan.tokens(); ++t) {
    const Index* begin = plan.token_slots.data() + plan.first_of_token[static_cast<std::size_t>(t)];
    const Index* end = plan.token_slots.data() + plan.first_of_token[static_cast<std::size_t>(t) + 1];
    if (begin != end) f(t, begin, end);
  }
}

template <class S>
S weight_of_slot(const Plan<S>& plan, Index slot) {
  return plan.weight[static_cast<std::size_t>(slot)];
}

/// log sum over the slots of weight * exp(fit), the largest fit taken out.
template <class S>
S log_mixture(const Plan<S>& plan, const Vector<S>& fit_N, const Index* begin, const Index* end) {
  S best = -std::numeric_limits<S>::infinity(), sum = 0;
  for (const Index* slot = begin; slot != end; ++slot)
    if (weight_of_slot(plan, *slot) > 0) best = (std::max)(best, fit_N.data()[*slot]);
  for (const Index* slot = begin; slot != end; ++slot) {
    const S p = weight_of_slot(plan, *slot);
    if (p > 0) sum += p * std::exp(fit_N.data()[*slot] - best);
  }
  return best + std::log(sum);
}

/// From the fits of the slots to the posterior probability that the target came from each slot's expert.
template <class S>
void make_responsibilities(const Plan<S>& plan, const Index* slot, const Index* end, S log_likelihood,
                           Vector<S>& fit_N) {
  for (; slot != end; ++slot)
    fit_N.data()[*slot] = weight_of_slot(plan, *slot) * std::exp(fit_N.data()[*slot] - log_likelihood);
}

}  // namespace detail

MOE_NAMESPACE_END
