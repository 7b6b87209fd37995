// The mean of a model's parameters over the last steps of its training, which often does better than the last step.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/entry_tasks.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameter_view.hpp"
#include "moe/core/parameters.hpp"
#include "moe/optim/check_step.hpp"

MOE_NAMESPACE_BEGIN

struct MovingAverageOptions {
  double decay = 0.999;  ///< In [0, 1). A step counts for decay^n after n more.
  bool warms_up =
      true;  ///< The decay of step t, from 0 on, is at most (1 + t) / (10 + t): the start is soon forgotten.
};

/// average <- decay average + (1 - decay) parameters, after each step. It starts as the model given, and is a model to
/// evaluate with. Buffers, such as a selection bias, are those of the last model. Saved and loaded as a model is. It
/// takes the memory of two models.
///
///     moe::MovingAverage average(model);
///     if (adam.step(model, gradient)) average.update(model);
///     evaluate(average.model());
template <class Model>
class MovingAverage {
 public:
  explicit MovingAverage(const Model& model, MovingAverageOptions options = {})
      : options_(options), average_(model), next_(model) {
    require(options.decay >= 0 && options.decay < 1, "MovingAverage: decay is ", options.decay,
            ", it must be in [0, 1)");
  }

  const Model& model() const { return average_; }
  std::int64_t steps() const { return steps_; }

  /// Takes in the parameters after a step. Throws std::invalid_argument, and changes nothing, if their shapes are not
  /// those of the average. The same bits for any number of threads.
  template <class Exec = DefaultExecutor>
  void update(const Model& model, const Exec& executor = {}) {
    detail::check_companion("MovingAverage::update", "the model",
                            "the average is older than the model, or another's: make it anew", average_, model);
    const auto t = static_cast<double>(steps_);
    const double decay = options_.warms_up ? (std::min)(options_.decay, (1 + t) / (10 + t)) : options_.decay;
    next_ = model;  // with its buffers
    const std::vector<detail::ParameterView> now = detail::views_of(next_), before = detail::views_of(average_);
    detail::EntryTasks tasks;
    for (const detail::ParameterView& parameter : now) tasks.add(parameter.size());
    tasks.run(executor, [&](Index, std::size_t run, Index begin, Index count) {
      constexpr Index block = 256;
      double kept[block], values[block];
      for (const Index end = begin + count; begin < end; begin += block) {
        const Index size = (std::min)(block, end - begin);
        before[run].read(begin, size, kept);
        now[run].read(begin, size, values);
        for (Index i = 0; i < size; ++i) values[i] = kept[i] + (1 - decay) * (values[i] - kept[i]);
        now[run].write(begin, size, values);
      }
    });
    std::swap(average_, next_);
    ++steps_;
  }

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_part("average", f, self.average_...);
  }
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_part_buffers("average", f, self.average_...);
    visit_numbers("steps", f, self.steps_...);
  }

 private:
  MovingAverageOptions options_;
  Model average_, next_;  // next_: memory of the step before, to compute in
  std::int64_t steps_ = 0;
};

MOE_NAMESPACE_END
