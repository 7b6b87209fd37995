// Stochastic gradient descent with momentum.
#pragma once

#include <tuple>

#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/optim/check_step.hpp"
#include "moe/optim/frozen.hpp"
#include "moe/optim/parameter_updates.hpp"

MOE_NAMESPACE_BEGIN

struct SgdOptions {
  double learning_rate = 1e-2;
  double momentum = 0;
  double weight_decay = 0;  ///< Decoupled: parameters shrink by learning_rate * weight_decay.
  bool nesterov = false;
};

namespace detail {

/// The settings of one step.
struct SgdRule {
  double momentum, rate, keep;
  bool nesterov;

  template <class S>
  static void update(const SgdRule& rule, const EntriesOfStep& entries, Index count);

  template <class S>
  static bool accepts(const S* slope, Index count) {
    return all_finite(slope, count, [](S entry) { return entry; });
  }
};

template <class S>
void SgdRule::update(const SgdRule& rule, const EntriesOfStep& entries, Index count) {
  using namespace Eigen::internal;
  S *const p = static_cast<S*>(entries.parameter), *const v = static_cast<S*>(entries.moments[0]);
  const S* const g = static_cast<const S*>(entries.slope);
  const S momentum = static_cast<S>(rule.momentum), rate = static_cast<S>(rule.rate), keep = static_cast<S>(rule.keep);
  for_each_packet<S>(count, [&](Index i, auto kind) {
    using V = decltype(kind);
    const V slope = ploadu<V>(g + i);
    const V velocity = padd(pmul(pset1<V>(momentum), ploadu<V>(v + i)), slope);
    pstoreu(v + i, velocity);
    const V step = rule.nesterov ? padd(slope, pmul(pset1<V>(momentum), velocity)) : velocity;
    pstoreu(p + i, psub(pmul(pset1<V>(keep), ploadu<V>(p + i)), pmul(pset1<V>(rate), step)));
  });
}

}  // namespace detail

/// v <- momentum v + g;  p <- p - learning_rate (v + weight_decay p), with g + momentum v in place of v for Nesterov's.
template <class Model>
class Sgd {
 public:
  SgdOptions options;
  Frozen frozen;

  explicit Sgd(const Model& model, SgdOptions options_ = {}) : options(options_), velocity_(zeros_like(model)) {
    check();
  }

  /// One step; the gradient is left as it is. False, and nothing changed, if the gradient has an entry that is not
  /// finite. Throws std::invalid_argument if shapes or options do not fit; whatever is thrown,
  /// also std::bad_alloc, nothing has changed.
  [[nodiscard]] bool step(Model& model, const Model& gradient) {
    check();
    detail::check_step("Sgd::step", frozen, model, gradient, velocity_);
    detail::UpdatesOf<detail::SgdRule> updates;
    for_each_parameter(detail::UpdateLister<detail::SgdRule>{frozen, updates}, model, gradient, velocity_);
    if (!updates.is_finite) return false;
    updates.make(
        {options.momentum, options.learning_rate, 1 - options.learning_rate * options.weight_decay, options.nesterov});
    return true;
  }

  /// The velocity, as a value of the model's type: see AdamW::moments.
  std::tuple<Model&> moments() { return {velocity_}; }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("velocity", f, self.velocity_...);
  }

 private:
  void check() const {
    require(
        detail::has_finite_bits(options.learning_rate) && options.learning_rate >= 0 && options.learning_rate <= 1e30,
        "Sgd: learning_rate is ", options.learning_rate, ", it must be in [0, 1e30]");
    require(options.momentum >= 0 && options.momentum < 1, "Sgd: momentum is ", options.momentum,
            ", it must be in [0, 1)");
    require(options.weight_decay >= 0 && detail::has_finite_bits(options.weight_decay), "Sgd: weight_decay is ",
            options.weight_decay, ", it must be finite and 0 or more");
  }

  Model velocity_;
};

#ifdef MOE_COMPILED
namespace detail {
MOE_DETAIL_INSTANCE void SgdRule::update<float>(const SgdRule&, const EntriesOfStep&, Index);
MOE_DETAIL_INSTANCE void SgdRule::update<double>(const SgdRule&, const EntriesOfStep&, Index);
}  // namespace detail
#endif

MOE_NAMESPACE_END
