// The passes of one expert beside a layer, that sees every token: the columns of its stages are tasks, if it has
// stages.
#pragma once

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/expert/stages.hpp"
#include "moe/layer/expert_tasks.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S, class X, class Exec>
void always_on_forward(const X& expert, ConstMatrixRef<S> x, MatrixRef<S> y, typename X::Tape& tape,
                       const Exec& executor) {
  if constexpr (has_stages<X, S>()) {
    expert.begin_forward(x.rows(), tape);
    for (int stage = 0; stage < X::stages; ++stage) {
      const Index all = expert.forward_columns(stage);
      parallel_blocks(executor, all, columns_of_task(all, tasks_to_occupy(executor), 256),
                      [&](Index first, Index count) { expert.forward_stage(stage, x, y, tape, 0, first, count); });
    }
  } else {
    expert.forward(x, y, tape);
  }
}

/// `begin_backward` is the caller's to call before: it may refuse.
template <class S, class X, class Exec>
void always_on_backward(const X& expert, ConstMatrixRef<S> x, ConstMatrixRef<S> dy, typename X::Tape& tape,
                        MatrixRef<S> dx, X& gradient, const Exec& executor) {
  if constexpr (has_stages<X, S>()) {
    for (int stage = 0; stage < X::stages; ++stage) {
      const Index all = expert.backward_columns(stage);
      parallel_blocks(
          executor, all, columns_of_task(all, tasks_to_occupy(executor), 256),
          [&](Index first, Index count) { expert.backward_stage(stage, x, dy, tape, dx, gradient, first, count); });
    }
  } else {
    expert.backward(x, dy, tape, dx, gradient);
  }
}

}  // namespace detail

MOE_NAMESPACE_END
