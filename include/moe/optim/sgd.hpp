// Stochastic gradient descent with momentum.
#pragma once

#include <limits>
#include <tuple>

#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/optim/check_step.hpp"
#include "moe/optim/frozen.hpp"
#include "moe/optim/parameter_groups.hpp"
#include "moe/optim/parameter_updates.hpp"

MOE_NAMESPACE_BEGIN

struct SgdOptions {
  double learning_rate = 1e-2;
  double momentum = 0;
  double weight_decay = 0;  ///< Decoupled: parameters shrink by learning_rate * weight_decay.
  bool nesterov = false;
  double clip_norm = std::numeric_limits<double>::infinity();  ///< What clip_global_norm calls the limit.
  bool zero_gradient = false;  ///< A step sets the gradient to zero, that of frozen parameters too.
};

namespace detail {

/// The settings of one step.
struct SgdRule {
  double momentum, rate, decay;
  bool nesterov;

  template <class S>
  static void update(const SgdRule& rule, const SlopeOfStep& how, GroupFactors factors, const EntriesOfStep& entries,
                     Index count);

  template <class S>
  static bool accepts(const void* slope, Index count, double scale) {
    return all_finite(static_cast<const S*>(slope), count,
                      [factor = static_cast<S>(scale)](S entry) { return entry * factor; });
  }
};

template <class S>
void SgdRule::update(const SgdRule& rule, const SlopeOfStep& how, GroupFactors factors, const EntriesOfStep& entries,
                     Index count) {
  using namespace Eigen::internal;
  S *const p = static_cast<S*>(entries.parameter), *const g = static_cast<S*>(entries.slope),
           *const v = static_cast<S*>(entries.moments[0]);
  const S momentum = static_cast<S>(rule.momentum), rate = static_cast<S>(rule.rate * factors.learning_rate);
  const S keep = static_cast<S>(1 - rule.decay * factors.learning_rate * factors.weight_decay);
  const S scale = static_cast<S>(how.scale);
  for_each_packet<S>(count, [&](Index i, auto kind) {
    using V = decltype(kind);
    V slope = pmul(pset1<V>(scale), ploadu<V>(g + i));
    EIGEN_OPTIMIZATION_BARRIER(slope)  // rounded, as clip_global_norm stores it, before anything is added
    const V velocity = padd(pmul(pset1<V>(momentum), ploadu<V>(v + i)), slope);
    const V step = rule.nesterov ? padd(slope, pmul(pset1<V>(momentum), velocity)) : velocity;
    const V next = psub(pmul(pset1<V>(keep), ploadu<V>(p + i)), pmul(pset1<V>(rate), step));
    if (how.set_zero) pstoreu(g + i, pset1<V>(S(0)));
    pstoreu(v + i, velocity);
    pstoreu(p + i, next);
  });
}

}  // namespace detail

/// v <- momentum v + g;  p <- p - learning_rate (v + weight_decay p), with g + momentum v in place of v for Nesterov's.
/// g is the gradient, scaled so that its global norm is at most clip_norm.
template <class Model>
class Sgd {
 public:
  SgdOptions options;
  Frozen frozen;
  ParameterGroups groups;

  explicit Sgd(const Model& model, SgdOptions options_ = {}) : options(options_), velocity_(zeros_like(model)) {
    check();
  }

  /// One step. False, and nothing changed, the gradient neither, if it has an entry that is not finite, or is too long
  /// to be clipped; frozen entries are not looked at. A gradient is left as it is unless options.zero_gradient. Throws
  /// std::invalid_argument if shapes or options do not fit; whatever is thrown, also std::bad_alloc, nothing has
  /// changed.
  template <class Exec = DefaultExecutor>
  [[nodiscard]] bool step(Model& model, Model& gradient, const Exec& executor = {}) {
    return step_by(model, gradient, executor);
  }
  template <class Exec = DefaultExecutor>
  [[nodiscard]] bool step(Model& model, const Model& gradient, const Exec& executor = {}) {
    detail::require_kept_gradient("Sgd::step", options.zero_gradient);
    return step_by(model, gradient, executor);
  }

  /// The global norm, before clipping, of what was not frozen of the gradient, in the last call of step; 0 before that.
  double gradient_norm() const { return gradient_norm_; }

  /// The velocity, as a value of the model's type: see AdamW::moments.
  std::tuple<Model&> moments() { return {velocity_}; }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("velocity", f, self.velocity_...);
  }

 private:
  bool step_by(Model& model, const Model& gradient, detail::ExecutorRef executor) {
    check();
    detail::check_step("Sgd::step", frozen, groups, model, gradient, velocity_);
    detail::UpdatesOf<detail::SgdRule> updates;
    for_each_parameter(detail::UpdateLister<detail::SgdRule>{frozen, groups, updates}, model, gradient, velocity_);
    const bool accepted = updates.measure(options.clip_norm, options.zero_gradient, executor);
    if (accepted)
      updates.make(
          {options.momentum, options.learning_rate, options.learning_rate * options.weight_decay, options.nesterov},
          executor);
    gradient_norm_ = updates.norm;
    return accepted;
  }

  void check() const {
    detail::check_options("Sgd", options);
    require(options.momentum >= 0 && options.momentum < 1, "Sgd: momentum is ", options.momentum,
            ", it must be in [0, 1)");
  }

  Model velocity_;
  double gradient_norm_ = 0;
};

#ifdef MOE_COMPILED
namespace detail {
MOE_DETAIL_INSTANCE void SgdRule::update<float>(const SgdRule&, const SlopeOfStep&, GroupFactors, const EntriesOfStep&,
                                                Index);
MOE_DETAIL_INSTANCE void SgdRule::update<double>(const SgdRule&, const SlopeOfStep&, GroupFactors, const EntriesOfStep&,
                                                 Index);
}  // namespace detail
#endif

MOE_NAMESPACE_END
