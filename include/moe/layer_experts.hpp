// Runs the experts of a layer over their slots. Experts that offer it are run stage by stage, all at once: a task is a
// few hundred columns of one expert, so that few experts too are work for several threads. Others are a task each.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/plan.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Columns first, ..., first + count - 1 of one expert's stage.
struct ColumnTask {
  std::size_t expert;
  Index first, count;
};

/// The tasks of a stage, over the experts that have slots; `columns(expert)` is how many columns the stage has.
template <class X, class S, class Columns>
void list_column_tasks(const std::vector<X>& experts, const Plan<S>& plan, std::vector<ColumnTask>& tasks,
                       Columns&& columns) {
  tasks.clear();
  for (std::size_t e = 0; e < experts.size(); ++e) {
    const Index rows = plan.rows_of(static_cast<Index>(e));
    if (rows == 0) continue;
    const Index at_once = rows <= 16 ? 128 : 512;  // many rows are packed once for many columns
    for (Index first = 0, all = columns(experts[e]); first < all; first += at_once)
      tasks.push_back({e, first, (std::min)(at_once, all - first)});
  }
}

/// y_NO = the experts' outputs for x_ND, slot by slot.
template <class X, class S, class Exec>
void experts_forward(const std::vector<X>& experts, const Plan<S>& plan, ConstMatrixRef<S> x_ND, MatrixRef<S> y_NO,
                     std::vector<typename X::Tape>& tapes, std::vector<ColumnTask>& tasks, const Exec& executor) {
  const auto rows = [&](auto&& matrix, std::size_t e) {
    return matrix.middleRows(plan.begin_of(static_cast<Index>(e)), plan.rows_of(static_cast<Index>(e)));
  };
  if constexpr (StagedExpert<X, S>) {
    for (std::size_t e = 0; e < experts.size(); ++e)
      if (const Index count = plan.rows_of(static_cast<Index>(e)); count > 0) experts[e].begin_forward(count, tapes[e]);
    for (int stage = 0; stage < X::stages; ++stage) {
      list_column_tasks(experts, plan, tasks, [&](const X& expert) { return expert.forward_columns(stage); });
      executor.parallel_for(static_cast<Index>(tasks.size()), [&](Index i) {
        const auto [e, first, count] = tasks[static_cast<std::size_t>(i)];
        experts[e].forward_stage(stage, rows(x_ND, e), rows(y_NO, e), tapes[e], first, count);
      });
    }
  } else {
    executor.parallel_for(static_cast<Index>(experts.size()), [&](Index i) {
      const auto e = static_cast<std::size_t>(i);
      if (plan.rows_of(i) > 0) experts[e].forward(rows(x_ND, e), rows(y_NO, e), tapes[e]);
    });
  }
}

/// dx_ND, and the gradients += those of the experts that have slots.
template <class X, class S, class Exec>
void experts_backward(const std::vector<X>& experts, const Plan<S>& plan, ConstMatrixRef<S> x_ND,
                      ConstMatrixRef<S> dy_NO, MatrixRef<S> dx_ND, std::vector<typename X::Tape>& tapes,
                      std::vector<X>& gradients, std::vector<ColumnTask>& tasks, const Exec& executor) {
  const auto rows = [&](auto&& matrix, std::size_t e) {
    return matrix.middleRows(plan.begin_of(static_cast<Index>(e)), plan.rows_of(static_cast<Index>(e)));
  };
  if constexpr (StagedExpert<X, S>) {
    for (std::size_t e = 0; e < experts.size(); ++e)
      if (const Index count = plan.rows_of(static_cast<Index>(e)); count > 0)
        experts[e].begin_backward(count, tapes[e]);
    for (int stage = 0; stage < X::stages; ++stage) {
      list_column_tasks(experts, plan, tasks, [&](const X& expert) { return expert.backward_columns(stage); });
      executor.parallel_for(static_cast<Index>(tasks.size()), [&](Index i) {
        const auto [e, first, count] = tasks[static_cast<std::size_t>(i)];
        experts[e].backward_stage(stage, rows(x_ND, e), rows(dy_NO, e), tapes[e], rows(dx_ND, e), gradients[e], first,
                                  count);
      });
    }
  } else {
    executor.parallel_for(static_cast<Index>(experts.size()), [&](Index i) {
      const auto e = static_cast<std::size_t>(i);
      if (plan.rows_of(i) > 0)
        experts[e].backward(rows(x_ND, e), rows(dy_NO, e), tapes[e], rows(dx_ND, e), gradients[e]);
    });
  }
}

}  // namespace detail

MOE_NAMESPACE_END
