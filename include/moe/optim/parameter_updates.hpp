// The updates of an optimiser's step: listed by a walk over the parameters, and made once the walk is done. A walk
// allocates names, and one that changed parameters by itself could stop half way.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/executor_ref.hpp"
#include "moe/core/packet.hpp"
#include "moe/core/parameter_view.hpp"
#include "moe/optim/frozen.hpp"
#include "moe/optim/gradient_norm.hpp"
#include "moe/optim/packed_moments.hpp"
#include "moe/optim/parameter_groups.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Entries of a parameter, of its gradient and of up to two moments, where each begins.
struct EntriesOfStep {
  void* parameter;
  void* slope;
  void* moments[2];
  Index first = 0;  ///< Number of the first entry, of all that the model has.

  EntriesOfStep shifted(Index begin, std::size_t bytes, std::size_t moment_bytes) const {
    const auto moved = [=](void* data, std::size_t size) -> void* {
      return data != nullptr ? static_cast<char*>(data) + static_cast<std::size_t>(begin) * size : nullptr;
    };
    return {moved(parameter, bytes),
            moved(slope, bytes),
            {moved(moments[0], moment_bytes), moved(moments[1], moment_bytes)},
            first + begin};
  }
};

/// How the gradient enters a step.
struct SlopeOfStep {
  double scale = 1;  ///< Of the trained entries, rounded to their type.
  bool set_zero = false;
};

/// What is compiled of an optimiser's step, `Rule`, for one scalar type.
template <class Rule>
struct UpdateKernels {
  void (*update)(const Rule& rule, const SlopeOfStep& slope, GroupFactors factors, const EntriesOfStep& entries,
                 Index count);
  bool (*accepts)(const void* slope, Index count, double scale);
};
template <class Rule, class S>
inline constexpr UpdateKernels<Rule> update_kernels{Rule::template update<S>, Rule::template accepts<S>};

/// The runs of entries that a step updates.
template <class Rule>
struct UpdatesOf {
  struct Run {
    const UpdateKernels<Rule>* kernels;
    EntriesOfStep entries;
    GroupFactors factors;
  };
  std::vector<Run> runs;
  GradientRuns trained;             ///< The gradient of each run.
  GradientRuns spared;              ///< Of what is frozen.
  PackedMoments* packed = nullptr;  ///< Instead of moments of the model's type.
  Index entries = 0;                ///< Listed so far.
  double norm = 0;
  SlopeOfStep slope;

  EntriesOfStep shifted(const EntriesOfStep& run, Index begin, std::size_t bytes) const {
    return run.shifted(begin, bytes, packed != nullptr ? sizeof(std::uint16_t) : bytes);
  }

  /// Norm of the gradient, and the factor by which it becomes at most `limit`; false if no step is to be made of it.
  bool measure(double limit, bool set_zero, ExecutorRef executor) {
    norm = trained.norm(executor);
    slope.set_zero = set_zero;
    slope.scale = norm > limit ? limit / norm : 1;
    for (const ParameterView& run : trained.runs)
      if (!(has_finite_bits(slope.scale) && slope.scale >= run.type->least_factor)) return false;
    constexpr double safe_norm = 1e18;  // no square overflows, also not in float
    return (has_finite_bits(norm) && norm <= safe_norm) || accepts_all(executor);
  }

  void make(const Rule& rule, ExecutorRef executor) const {
    const auto update = [&](Index, std::size_t run, Index begin, Index count) {
      const Run& one = runs[run];
      one.kernels->update(rule, slope, one.factors, shifted(one.entries, begin, trained.runs[run].type->bytes), count);
    };
    const auto set_zero = [&](Index, std::size_t run, Index begin, Index count) {
      spared.runs[run].run(begin, count).set_zero();
    };
    const Index updates = trained.tasks.size();
    executor.parallel_for(updates + (slope.set_zero ? spared.tasks.size() : 0), [&](Index task) {
      if (task < updates)
        trained.tasks.run_one(task, update);
      else
        spared.tasks.run_one(task - updates, set_zero);
    });
  }

 private:
  bool accepts_all(ExecutorRef executor) const {
    std::atomic<bool> all{true};
    trained.tasks.run(executor, [&](Index, std::size_t run, Index begin, Index count) {
      const ParameterView slopes = trained.runs[run].run(begin, count);
      if (!runs[run].kernels->accepts(slopes.data, count, slope.scale)) all = false;
    });
    return all;
  }
};

/// Walks a model, its gradient and its moments: lists what is trained.
template <class Rule>
struct UpdateLister {
  const Frozen& frozen;
  const ParameterGroups& groups;
  UpdatesOf<Rule>& updates;

  template <class Parameter, class Slope, class... Moments>
  void operator()(std::string_view name, Parameter& parameter, const Slope& slope, Moments&... moments) const {
    using S = std::remove_pointer_t<decltype(parameter.data())>;
    const ParameterView slopes = view_of(slope);
    add(name, slopes, {parameter.data(), slopes.data, {moments.data()...}}, update_kernels<Rule, S>);
  }

 private:
  void add(std::string_view name, const ParameterView& slopes, EntriesOfStep entries,
           const UpdateKernels<Rule>& kernels) const {
    entries.first = updates.entries;
    updates.entries += slopes.size();
    if (updates.packed != nullptr)
      for (const std::size_t moment : {0u, 1u})
        entries.moments[moment] = updates.packed->entries(moment, entries.first);
    const GroupFactors factors = groups.factors_of(name, slopes);
    Index end = 0;
    const auto spare_until = [&](Index begin) {
      if (begin > end) updates.spared.add(slopes.run(end, begin - end));
    };
    frozen.visit_trained_runs(name, slopes, [&](Index begin, Index count) {
      spare_until(begin);
      updates.trained.add(slopes.run(begin, count));
      updates.runs.push_back({&kernels, updates.shifted(entries, begin, slopes.type->bytes), factors});
      end = begin + count;
    });
    spare_until(slopes.size());
  }
};

/// Calls f(i, Packet()), or f(i, S()) where no whole packet is left, for the entries from i on.
template <class S, class F>
EIGEN_ALWAYS_INLINE void for_each_packet(Index count, F&& f) {
  using Packets = PacketsOf<S>;
  Index i = 0;
  for (; i + Packets::lanes <= count; i += Packets::lanes) f(i, typename Packets::Packet());
  for (; i < count; ++i) f(i, S());
}

/// Whether all values that measure(entry) gives are finite. A loop of a fixed number of integers: compilers make packet
/// code of it.
template <class S, class Measure>
bool all_finite(const S* entries, Index count, Measure&& measure) {
  Index i = 0;
  if constexpr (has_known_bits<S>) {
    using Bits = decltype(magnitude_bits(S()));
    for (; i + panel_width <= count; i += panel_width) {
      Bits magnitudes[panel_width];
      for (Index k = 0; k < panel_width; ++k) magnitudes[k] = magnitude_bits(S(measure(entries[i + k])));
      bool finite = true;
      for (Index k = 0; k < panel_width; ++k) finite &= magnitudes[k] < bits_of_infinity<S>;
      if (!finite) return false;
    }
  }
  for (; i < count; ++i)
    if (!has_finite_bits(S(measure(entries[i])))) return false;
  return true;
}

}  // namespace detail

MOE_NAMESPACE_END
