// The norm of a gradient, and clipping by it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/entry_tasks.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameter_view.hpp"
#include "moe/core/parameters.hpp"
#include "moe/optim/frozen.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Runs of entries of a gradient, listed by a walk.
struct GradientRuns {
  std::vector<ParameterView> runs;
  EntryTasks tasks;

  void add(const ParameterView& run) {
    runs.push_back(run);
    tasks.add(run.size());
  }

  /// Calls f(task, run) for all entries, as tasks.
  template <class F>
  void for_each(ExecutorRef executor, F&& f) const {
    tasks.run(executor, [&](Index task, std::size_t run, Index begin, Index count) {
      f(static_cast<std::size_t>(task), runs[run].run(begin, count));
    });
  }

  /// A sum of one number for each run, of each task by itself: the same bits for any number of threads.
  template <class F>
  double sum(ExecutorRef executor, F&& f) const {
    std::vector<double> sums(static_cast<std::size_t>(tasks.size()));
    for_each(executor, [&](std::size_t task, const ParameterView& run) { sums[task] += f(run); });
    double total = 0;
    for (const double one : sums) total += one;
    return total;
  }

  double norm(ExecutorRef executor) const {
    // Where squares are lost because they are too small for a double, their sum is not far from there.
    constexpr double least = 1e-250;
    const double squares = sum(executor, [](const ParameterView& run) { return run.squares(); });
    if (has_finite_bits(squares) && squares >= least) return std::sqrt(squares);
    return norm_by_largest(executor);
  }

 private:
  double norm_by_largest(ExecutorRef executor) const {
    std::vector<std::uint64_t> bits(
        static_cast<std::size_t>(tasks.size()));  // in the order of the magnitudes; NaN last
    for_each(executor, [&](std::size_t task, const ParameterView& run) {
      run.for_each_block([&](Index, const double* values, Index count) {
        for (Index i = 0; i < count; ++i) bits[task] = (std::max)(bits[task], magnitude_bits(values[i]));
      });
    });
    std::uint64_t most = 0;
    for (const std::uint64_t one : bits) most = (std::max)(most, one);
    const auto largest = std::bit_cast<double>(most);
    if (most == 0 || !has_finite_bits(largest)) return largest;
    return largest * std::sqrt(sum(executor, [&](const ParameterView& run) {
             double squares = 0;
             run.for_each_block([&](Index, const double* values, Index count) {
               for (Index i = 0; i < count; ++i) squares += (values[i] / largest) * (values[i] / largest);
             });
             return squares;
           }));
  }
};

template <class Model>
GradientRuns trained_runs(Model& gradient, const Frozen& frozen) {
  frozen.check(gradient);
  GradientRuns trained;
  for_each_view(
      [&](std::string_view name, const ParameterView* parameter) {
        frozen.visit_trained_runs(name, *parameter,
                                  [&](Index begin, Index count) { trained.add(parameter->run(begin, count)); });
      },
      gradient);
  return trained;
}

inline double clip_runs(const GradientRuns& gradient, double limit, ExecutorRef executor) {
  require(limit > 0, "clip_global_norm: the limit is ", limit, ", it must be more than 0");
  const double norm = gradient.norm(executor);
  if (has_finite_bits(norm) && norm > limit)
    gradient.for_each(executor, [&](std::size_t, const ParameterView& run) { run.scale(limit, norm); });
  return norm;
}

}  // namespace detail

/// Square root of the sum of the squares of all entries that are not frozen, in double; where squares overflow or
/// vanish, the largest is taken out. Not finite if an entry is not.
template <class Model, class Exec = DefaultExecutor>
double global_norm(const Model& gradient, const Frozen& frozen, const Exec& executor = {}) {
  return detail::trained_runs(gradient, frozen).norm(executor);
}
template <class Model, class Exec = DefaultExecutor>
double global_norm(const Model& gradient, const Exec& executor = {}) {
  return global_norm(gradient, Frozen(), executor);
}

/// Scales the entries that are not frozen so that their global norm is at most `limit`; returns the norm before. A
/// gradient with an entry that is not finite stays as it is, for the optimiser to refuse. An optimiser does the same in
/// its step, and reads the gradient once less: see AdamWOptions::clip_norm. Throws std::invalid_argument unless limit >
/// 0; whatever is thrown, also std::bad_alloc, the gradient is unchanged.
template <class Model, class Exec = DefaultExecutor>
double clip_global_norm(Model& gradient, double limit, const Frozen& frozen, const Exec& executor = {}) {
  return detail::clip_runs(detail::trained_runs(gradient, frozen), limit, executor);
}
template <class Model, class Exec = DefaultExecutor>
double clip_global_norm(Model& gradient, double limit, const Exec& executor = {}) {
  return clip_global_norm(gradient, limit, Frozen(), executor);
}

MOE_NAMESPACE_END
