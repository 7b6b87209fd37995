// Adam with decoupled weight decay.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>

#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/optim/check_step.hpp"
#include "moe/optim/frozen.hpp"
#include "moe/optim/parameter_updates.hpp"

MOE_NAMESPACE_BEGIN

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< Decoupled: parameters shrink by learning_rate * weight_decay.
};

namespace detail {

/// The settings of one step.
struct AdamWRule {
  double beta1, beta2, rate, unbias, epsilon, keep;

  template <class S>
  static void update(const AdamWRule& rule, const EntriesOfStep& entries, Index count);

  /// Whether the squares of all entries are finite in the entries' own type.
  template <class S>
  static bool accepts(const S* slope, Index count) {
    return all_finite(slope, count, [](S entry) { return entry * entry; });
  }
};

template <class S>
void AdamWRule::update(const AdamWRule& rule, const EntriesOfStep& entries, Index count) {
  using namespace Eigen::internal;
  S *const p = static_cast<S*>(entries.parameter), *const m = static_cast<S*>(entries.moments[0]),
           *const v = static_cast<S*>(entries.moments[1]);
  const S* const g = static_cast<const S*>(entries.slope);
  const S beta1 = static_cast<S>(rule.beta1), beta2 = static_cast<S>(rule.beta2), rate = static_cast<S>(rule.rate);
  const S unbias = static_cast<S>(rule.unbias), epsilon = static_cast<S>(rule.epsilon),
          keep = static_cast<S>(rule.keep);
  const S rest1 = S(1) - beta1, rest2 = S(1) - beta2;
  for_each_packet<S>(count, [&](Index i, auto kind) {
    using V = decltype(kind);
    const V slope = ploadu<V>(g + i);
    const V mean = padd(pmul(pset1<V>(beta1), ploadu<V>(m + i)), pmul(pset1<V>(rest1), slope));
    const V square = padd(pmul(pset1<V>(beta2), ploadu<V>(v + i)), pmul(pset1<V>(rest2), pmul(slope, slope)));
    pstoreu(m + i, mean);
    pstoreu(v + i, square);
    const V step = pdiv(pmul(pset1<V>(rate), mean), padd(pmul(pset1<V>(unbias), psqrt(square)), pset1<V>(epsilon)));
    pstoreu(p + i, psub(pmul(pset1<V>(keep), ploadu<V>(p + i)), step));
  });
}

}  // namespace detail

/// m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
/// p <- p - learning_rate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay p)
/// (Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2). t counts the optimiser's steps, one for
/// all parameters.
template <class Model>
class AdamW {
 public:
  AdamWOptions options;
  Frozen frozen;
  std::int64_t steps = 0;

  explicit AdamW(const Model& model, AdamWOptions options_ = {})
      : options(options_), mean_(zeros_like(model)), square_(mean_) {
    check();
  }

  /// One step; the gradient is left as it is. False, and nothing changed, if the gradient has an entry whose square is
  /// not finite. Throws std::invalid_argument if shapes or options do not fit; whatever is
  /// thrown, also std::bad_alloc, nothing has changed.
  [[nodiscard]] bool step(Model& model, const Model& gradient) {
    check();
    detail::check_step("AdamW::step", frozen, model, gradient, mean_, square_);
    detail::UpdatesOf<detail::AdamWRule> updates;
    for_each_parameter(detail::UpdateLister<detail::AdamWRule>{frozen, updates}, model, gradient, mean_, square_);
    if (!updates.is_finite) return false;
    const auto t = static_cast<double>(++steps);
    const double mean_bias = 1 - std::pow(options.beta1, t), square_bias = 1 - std::pow(options.beta2, t);
    updates.make({options.beta1, options.beta2, options.learning_rate / mean_bias, 1 / std::sqrt(square_bias),
                  options.epsilon, 1 - options.learning_rate * options.weight_decay});
    return true;
  }

  /// The moments, mean and square, as values of the model's type: what changes the model's shape (moe/surgery/) changes
  /// theirs.
  std::tuple<Model&, Model&> moments() { return {mean_, square_}; }

  /// The moments and the steps, by name: an optimiser is saved and loaded as a model is.
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("mean", f, self.mean_...);
    visit_part("square", f, self.square_...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_numbers("steps", f, self.steps...);
  }

 private:
  void check() const {
    require(
        detail::has_finite_bits(options.learning_rate) && options.learning_rate >= 0 && options.learning_rate <= 1e30,
        "AdamW: learning_rate is ", options.learning_rate, ", it must be in [0, 1e30]");
    require(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
            "AdamW: beta1 and beta2 are ", options.beta1, " and ", options.beta2, ", both must be in [0, 1)");
    require(options.epsilon >= 1e-30 && options.epsilon <= 1e30, "AdamW: epsilon is ", options.epsilon,
            ", it must be in [1e-30, 1e30]");
    require(options.weight_decay >= 0 && detail::has_finite_bits(options.weight_decay), "AdamW: weight_decay is ",
            options.weight_decay, ", it must be finite and 0 or more");
    require(steps >= 0 && steps < (std::numeric_limits<std::int64_t>::max)(), "AdamW: steps is ", steps,
            ", it must be 0 or more and not the largest integer");
  }

  Model mean_, square_;
};

#ifdef MOE_COMPILED
namespace detail {
MOE_DETAIL_INSTANCE void AdamWRule::update<float>(const AdamWRule&, const EntriesOfStep&, Index);
MOE_DETAIL_INSTANCE void AdamWRule::update<double>(const AdamWRule&, const EntriesOfStep&, Index);
}  // namespace detail
#endif

MOE_NAMESPACE_END
