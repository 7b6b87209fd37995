// Adam with decoupled weight decay.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameters.hpp"
#include "moe/optim/check_step.hpp"
#include "moe/optim/frozen.hpp"
#include "moe/optim/packed_moments.hpp"
#include "moe/optim/parameter_groups.hpp"
#include "moe/optim/parameter_updates.hpp"

MOE_NAMESPACE_BEGIN

/// What numbers an optimiser's moments are kept in.
enum class MomentFormat {
  same,      ///< Those of the parameters.
  bfloat16,  ///< 16 bits: half the memory of float.
};

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< Decoupled: parameters shrink by learning_rate * weight_decay.
  double clip_norm = std::numeric_limits<double>::infinity();  ///< What clip_global_norm calls the limit.
  bool zero_gradient = false;  ///< A step sets the gradient to zero, that of frozen parameters too.
  MomentFormat moments = MomentFormat::same;
};

namespace detail {

/// The settings of one step.
struct AdamWRule {
  double beta1, beta2, rate, unbias, epsilon, decay;
  bool is_packed;              ///< The moments are in bfloat16.
  std::uint64_t steps_before;  ///< For the rounding of these.

  template <class S>
  static void update(const AdamWRule& rule, const SlopeOfStep& how, GroupFactors factors, const EntriesOfStep& entries,
                     Index count);

  template <class S>
  static void update_packed(AdamWRule rule, const SlopeOfStep& how, GroupFactors factors, const EntriesOfStep& entries,
                            Index count);

  /// Whether the squares of all scaled entries are finite in the entries' own type.
  template <class S>
  static bool accepts(const void* slope, Index count, double scale) {
    return all_finite(static_cast<const S*>(slope), count,
                      [factor = static_cast<S>(scale)](S entry) { return (entry * factor) * (entry * factor); });
  }
};

template <class S>
void AdamWRule::update(const AdamWRule& rule, const SlopeOfStep& how, GroupFactors factors,
                       const EntriesOfStep& entries, Index count) {
  using namespace Eigen::internal;
  if (rule.is_packed) return update_packed<S>(rule, how, factors, entries, count);
  S *const p = static_cast<S*>(entries.parameter), *const g = static_cast<S*>(entries.slope),
           *const m = static_cast<S*>(entries.moments[0]), *const v = static_cast<S*>(entries.moments[1]);
  const S beta1 = static_cast<S>(rule.beta1), beta2 = static_cast<S>(rule.beta2);
  const S rate = static_cast<S>(rule.rate * factors.learning_rate);
  const S unbias = static_cast<S>(rule.unbias), epsilon = static_cast<S>(rule.epsilon);
  const S keep = static_cast<S>(1 - rule.decay * factors.learning_rate * factors.weight_decay);
  const S rest1 = S(1) - beta1, rest2 = S(1) - beta2, scale = static_cast<S>(how.scale);
  for_each_packet<S>(count, [&](Index i, auto kind) {
    using V = decltype(kind);
    // All loads come first: one whose address agrees in the last bits with that of a store shortly before it waits.
    const V slope = pmul(pset1<V>(scale), ploadu<V>(g + i)), old_mean = ploadu<V>(m + i), old_square = ploadu<V>(v + i);
    const V kept = pmul(pset1<V>(keep), ploadu<V>(p + i));
    const V mean = padd(pmul(pset1<V>(beta1), old_mean), pmul(pset1<V>(rest1), slope));
    const V square = padd(pmul(pset1<V>(beta2), old_square), pmul(pset1<V>(rest2), pmul(slope, slope)));
    const V step = pdiv(pmul(pset1<V>(rate), mean), padd(pmul(pset1<V>(unbias), psqrt(square)), pset1<V>(epsilon)));
    if (how.set_zero) pstoreu(g + i, pset1<V>(S(0)));
    pstoreu(m + i, mean);
    pstoreu(v + i, square);
    pstoreu(p + i, psub(kept, step));
  });
}

/// By blocks that stay in the cache.
template <class S>
void AdamWRule::update_packed(AdamWRule rule, const SlopeOfStep& how, GroupFactors factors,
                              const EntriesOfStep& entries, Index count) {
  constexpr Index block = 512;
  S mean[block], square[block];
  rule.is_packed = false;
  for (Index begin = 0; begin < count; begin += block) {
    EntriesOfStep part = entries.shifted(begin, sizeof(S), sizeof(std::uint16_t));
    const Index size = (std::min)(block, count - begin);
    auto* const packed_mean = static_cast<std::uint16_t*>(part.moments[0]);
    auto* const packed_square = static_cast<std::uint16_t*>(part.moments[1]);
    widen_bfloat16(packed_mean, size, mean);
    widen_bfloat16(packed_square, size, square);
    part.moments[0] = mean, part.moments[1] = square;
    update<S>(rule, how, factors, part, size);
    round_to_bfloat16(mean, size, packed_mean);
    const auto first = static_cast<std::uint64_t>(part.first);
    round_to_bfloat16_at_random(square, size, rounding_key(rule.steps_before, first), static_cast<std::uint32_t>(first),
                                packed_square);
  }
}

}  // namespace detail

/// m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
/// p <- p - learning_rate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay p)
/// (Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2). t counts the optimiser's steps, one for
/// all parameters. g is the gradient, scaled so that its global norm is at most clip_norm.
template <class Model>
class AdamW {
 public:
  AdamWOptions options;
  Frozen frozen;
  ParameterGroups groups;
  std::int64_t steps = 0;

  explicit AdamW(const Model& model, AdamWOptions options_ = {})
      : options(options_), mean_(first_moment(model)), square_(mean_) {}

  /// One step. False, and nothing changed, the gradient neither, if after clipping it has an entry whose square is not
  /// finite, is too long to be clipped, or, with moments in bfloat16, is longer than 1e18; frozen entries are not
  /// looked at. A gradient is left as it is unless options.zero_gradient. Throws std::invalid_argument if shapes or
  /// options do not fit; whatever is thrown, also std::bad_alloc, nothing has changed.
  template <class Exec = DefaultExecutor>
  [[nodiscard]] bool step(Model& model, Model& gradient, const Exec& executor = {}) {
    return step_by(model, gradient, executor);
  }
  template <class Exec = DefaultExecutor>
  [[nodiscard]] bool step(Model& model, const Model& gradient, const Exec& executor = {}) {
    detail::require_kept_gradient("AdamW::step", options.zero_gradient);
    return step_by(model, gradient, executor);
  }

  /// The global norm, before clipping, of what was not frozen of the gradient, in the last call of step; 0 before that.
  double gradient_norm() const { return gradient_norm_; }

  /// The moments, mean and square, as values of the model's type: what changes the model's shape (moe/surgery/) changes
  /// theirs. Those in bfloat16 are unpacked, and packed again by the next step, rounded to nearest. Many threads may
  /// look at a const optimiser, but none may copy it meanwhile.
  std::tuple<Model&, Model&> moments() {
    unpack();
    return {mean_, square_};
  }

  /// The moments and the steps, by name: an optimiser is saved and loaded as a model is.
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    (self.unpack(), ...);
    visit_part("mean", f, as_self(self, self.mean_)...);
    visit_part("square", f, as_self(self, self.square_)...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_numbers("steps", f, self.steps...);
  }

 private:
  bool step_by(Model& model, const Model& gradient, detail::ExecutorRef executor) {
    constexpr std::string_view name = "AdamW::step";
    check();
    if (options.moments == MomentFormat::same) unpack();
    if (packed_.is_used()) {
      detail::check_step(name, frozen, groups, model, gradient);
      require(packed_.fit(model), name, ": ", detail::older_moments);
    } else {
      detail::check_step(name, frozen, groups, model, gradient, mean_, square_);
    }
    const bool packs = options.moments == MomentFormat::bfloat16 && !packed_.is_used();
    detail::PackedMoments fresh;
    detail::EmptiedParameters emptied;
    if (packs) {
      fresh = detail::PackedMoments(mean_, square_);
      for_each_parameter(emptied, mean_);
      for_each_parameter(emptied, square_);
    }
    detail::UpdatesOf<detail::AdamWRule> updates;
    if (options.moments == MomentFormat::bfloat16) updates.packed = packs ? &fresh : &packed_;
    for_each_parameter(detail::UpdateLister<detail::AdamWRule>{frozen, groups, updates}, model, gradient, mean_,
                       square_);
    constexpr double longest_packed = 1e18;  // squares of a double may be too large for a bfloat16
    const bool accepted = updates.measure(options.clip_norm, options.zero_gradient, executor) &&
                          (updates.packed == nullptr || updates.norm * updates.slope.scale <= longest_packed);
    if (accepted) {
      const auto t = static_cast<double>(steps + 1);
      const double mean_bias = 1 - std::pow(options.beta1, t), square_bias = 1 - std::pow(options.beta2, t);
      updates.make(
          {options.beta1, options.beta2, options.learning_rate / mean_bias, 1 / std::sqrt(square_bias), options.epsilon,
           options.learning_rate * options.weight_decay, updates.packed != nullptr, static_cast<std::uint64_t>(steps)},
          executor);
      ++steps;
      if (packs) {
        packed_ = std::move(fresh);
        emptied.take();
      }
    }
    gradient_norm_ = updates.norm;
    return accepted;
  }

  /// All zero, and packed if so wanted.
  Model first_moment(const Model& model) {
    check();
    Model zeros = zeros_like(model);
    if (options.moments == MomentFormat::bfloat16) {
      packed_ = detail::PackedMoments(zeros, zeros);
      detail::EmptiedParameters emptied;
      for_each_parameter(emptied, zeros);
      emptied.take();
    }
    return zeros;
  }

  /// One thread at a time, since many may read a const optimiser.
  void unpack() const {
    static std::mutex one_at_a_time;
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    if (!packed_.is_used()) return;
    Model mean = packed_.unpacked(0, mean_), square = packed_.unpacked(1, square_);
    mean_ = std::move(mean);
    square_ = std::move(square);
    packed_ = detail::PackedMoments();
  }

  template <class Self>
  static auto& as_self(Self&, Model& moment) {
    return static_cast<std::conditional_t<std::is_const_v<Self>, const Model, Model>&>(moment);
  }

  void check() const {
    detail::check_options("AdamW", options);
    require(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
            "AdamW: beta1 and beta2 are ", options.beta1, " and ", options.beta2, ", both must be in [0, 1)");
    require(options.epsilon >= 1e-30 && options.epsilon <= 1e30, "AdamW: epsilon is ", options.epsilon,
            ", it must be in [1e-30, 1e30]");
    require(steps >= 0 && steps < (std::numeric_limits<std::int64_t>::max)(), "AdamW: steps is ", steps,
            ", it must be 0 or more and not the largest integer");
  }

  // Either the two moments, or, while these are without entries, both packed. What reads a const optimiser unpacks.
  mutable detail::PackedMoments packed_;
  mutable Model mean_, square_;
  double gradient_norm_ = 0;
};

#ifdef MOE_COMPILED
namespace detail {
MOE_DETAIL_INSTANCE void AdamWRule::update<float>(const AdamWRule&, const SlopeOfStep&, GroupFactors,
                                                  const EntriesOfStep&, Index);
MOE_DETAIL_INSTANCE void AdamWRule::update<double>(const AdamWRule&, const SlopeOfStep&, GroupFactors,
                                                   const EntriesOfStep&, Index);
}  // namespace detail
#endif

MOE_NAMESPACE_END
