// Runs the experts of a layer over their slots. Experts that offer it are run stage by stage, all at once: a task is a
// few hundred columns of one expert, so that few experts too are work for several threads. Small ones take blocks of
// rows through all stages instead. Others are a task each. An expert beside the layer, that sees every token, is run by
// columns.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/properties.hpp"
#include "moe/expert/stages.hpp"
#include "moe/kernel/packing.hpp"
#include "moe/layer/tape.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/dispatch.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Calls f(e) for each expert that has slots.
template <class S, class F>
void for_each_used_expert(const Plan<S>& plan, F&& f) {
  for (Index e = 0; e < plan.experts(); ++e)
    if (plan.rows_of(e) > 0) f(static_cast<std::size_t>(e));
}

/// The expert's own of the rows of all slots.
template <class S, class Rows>
auto rows_of_expert(const Plan<S>& plan, std::size_t e, Rows& rows) {
  return rows.middleRows(plan.begin_of(static_cast<Index>(e)), plan.rows_of(static_cast<Index>(e)));
}

/// Of all columns of a stage, as many as a task gets: `most`, or fewer if that leaves less tasks than `wanted`. No
/// result depends on where columns are cut.
inline Index columns_of_task(Index all, Index wanted, Index most) {
  return std::clamp(all / wanted / 64 * 64, Index{64}, most);
}

/// The tasks of a stage; `columns(e)` is how many columns an expert has in it. Many rows are packed once for many
/// columns; few rows are multiplied by up to 128 columns at once, so they get a multiple of that.
template <class S, class Columns>
void list_column_tasks(const Plan<S>& plan, Index wanted, std::vector<ExpertTask>& tasks, Columns&& columns) {
  Index total = 0, most_tasks = 0;
  for_each_used_expert(plan, [&](std::size_t e) { total += columns(e); });
  for (Index e = 0; e < plan.experts(); ++e) most_tasks += columns(static_cast<std::size_t>(e)) / 64 + 1;
  tasks.reserve(static_cast<std::size_t>(most_tasks));  // of any plan: no later one allocates
  const Index of_many_rows = columns_of_task(total, wanted, 512);
  tasks.clear();
  for_each_used_expert(plan, [&](std::size_t e) {
    const bool few_rows = plan.rows_of(static_cast<Index>(e)) <= 16;
    const Index at_once = few_rows ? (of_many_rows < 256 ? 128 : 256) : of_many_rows;
    for (Index first = 0, all = columns(e); first < all; first += at_once)
      tasks.push_back({e, first, (std::min)(at_once, all - first)});
  });
}

/// Calls work(stage, e, first, count) for the columns of all experts, as tasks, one stage after the other.
template <class S, class Exec, class Columns, class Work>
void run_stages(int stages, const Plan<S>& plan, std::vector<ExpertTask>& tasks, const Exec& executor,
                Columns&& columns, Work&& work) {
  for (int stage = 0; stage < stages; ++stage) {
    list_column_tasks(plan, tasks_to_occupy(executor), tasks, [&](std::size_t e) { return columns(stage, e); });
    parallel_for(executor, static_cast<Index>(tasks.size()), [&](Index i) {
      const ExpertTask& task = tasks[static_cast<std::size_t>(i)];
      work(stage, task.expert, task.first, task.count);
    });
  }
}

/// Tasks of rows that go through all stages at once; false if an expert does not want that, or if so few tasks, or one
/// of so large a part of all rows, would leave threads idle.
template <class X, class S>
bool list_row_tasks(const std::vector<X>& experts, const Plan<S>& plan, Index wanted, std::vector<ExpertTask>& tasks) {
  if constexpr (requires { experts[0].rows_of_block(); }) {
    Index most = (std::max)(Index{1}, plan.slots());
    for_each_used_expert(
        plan, [&](std::size_t e) { most = (std::min)(most, static_cast<Index>(experts[e].rows_of_block())); });
    if (most <= 0 || plan.slots() / most / 2 < wanted) return false;
    tasks.clear();
    tasks.reserve(experts.size() + static_cast<std::size_t>(plan.slots() / most));
    for_each_used_expert(plan, [&](std::size_t e) {
      const EvenParts blocks{plan.rows_of(static_cast<Index>(e)), most};
      for (Index block = 0; block < blocks.count(); ++block)
        tasks.push_back({e, blocks.begin(block), blocks.size(block)});
    });
    return static_cast<Index>(tasks.size() / 4) >= wanted;
  } else {
    return false;
  }
}

/// The tapes that the experts' passes work with.
template <class Tape>
auto& tapes_at_work(Tape& tape) {
  return tape.recompute_in != nullptr ? *tape.recompute_in : tape.experts;
}

/// Gets the room where activations are computed ready for a pass of the seeds that the tape keeps.
template <class X, class Tape>
void begin_in_room(const std::vector<X>& experts, Tape& tape) {
  if (tape.recompute_in == nullptr) return;
  require(!HasAuxiliaryLoss<X>, "Layer: experts with losses of their own, such as layers, cannot be recomputed");
  tape.recompute_in->resize((std::max)(tape.recompute_in->size(), experts.size()));
  for (std::size_t e = 0; e < experts.size(); ++e)
    if constexpr (requires(typename X::Tape of) { of.random = of.random; })
      (*tape.recompute_in)[e].random = tape.experts[e].random;
}

/// Rows, the expert's from `row` on, through its first stages.
template <class X, class S>
void forward_all_columns(const X& expert, int stages, ConstMatrixRef<S> x, MatrixRef<S> y, typename X::Tape& tape,
                         Index row) {
  for (int stage = 0; stage < stages; ++stage)
    if (const Index all = expert.forward_columns(stage); all > 0) expert.forward_stage(stage, x, y, tape, row, 0, all);
}

/// The first stages of the experts' forward passes, or the whole of those that have none, into tape.y_NO;
/// `dispatch(first, count)` copies tokens into these slots.
template <class X, class Tape, class Exec, class Dispatch>
void run_forward(const std::vector<X>& experts, [[maybe_unused]] int stages, bool keep_activations, Tape& tape,
                 const Exec& executor, Dispatch&& dispatch) {
  using S = typename Tape::Scalar;
  const auto& plan = tape.plan;
  auto& tapes = tapes_at_work(tape);
  for (auto& expert_tape : tapes) hand_down_keeping(keep_activations, expert_tape);
  const auto x = [&](std::size_t e) { return rows_of_expert(plan, e, tape.x_ND); };
  const auto y = [&](std::size_t e) { return rows_of_expert(plan, e, tape.y_NO); };
  if constexpr (has_stages<X, S>()) {
    for_each_used_expert(plan, [&](std::size_t e) { experts[e].begin_forward(x(e).rows(), tapes[e]); });
    if (list_row_tasks(experts, plan, tasks_to_occupy(executor), tape.tasks)) {
      parallel_for(executor, static_cast<Index>(tape.tasks.size()), [&](Index i) {
        const auto [e, row, rows] = tape.tasks[static_cast<std::size_t>(i)];
        dispatch(plan.begin_of(static_cast<Index>(e)) + row, rows);
        forward_all_columns<X, S>(experts[e], stages, x(e).middleRows(row, rows), y(e).middleRows(row, rows), tapes[e],
                                  row);
      });
    } else {
      parallel_blocks(executor, plan.slots(), rows_a_task, dispatch);
      run_stages(
          stages, plan, tape.tasks, executor,
          [&](int stage, std::size_t e) { return experts[e].forward_columns(stage); },
          [&](int stage, std::size_t e, Index first, Index count) {
            experts[e].forward_stage(stage, x(e), y(e), tapes[e], 0, first, count);
          });
    }
  } else {
    parallel_for(executor, plan.experts(), [&](Index i) {
      const auto e = static_cast<std::size_t>(i);
      if (plan.rows_of(i) == 0) return;
      dispatch(plan.begin_of(i), plan.rows_of(i));
      experts[e].forward(x(e), y(e), tapes[e]);
    });
  }
}

template <class X>
constexpr int stages_of() {
  if constexpr (requires { X::stages; })
    return X::stages;
  else
    return 1;
}

/// How many stages it takes to compute what the backward pass needs again.
template <class X>
constexpr int saving_stages_of() {
  if constexpr (requires { X::saving_stages; })
    return X::saving_stages;
  else
    return stages_of<X>();
}

/// Where a thread takes rows through an expert's stages in a pass that nothing is kept of: they stay in its caches.
template <class X, class S>
struct BlockRoom {
  Buffer<Matrix<S>> x;
  typename X::Tape tape;

  /// The calling thread's. A task takes it out while it works: a pass that is run meanwhile makes one of its own.
  static BlockRoom& mine() {
    thread_local BlockRoom room;
    return room;
  }
};

/// tape.y_NO = the experts' outputs, by tasks of rows, in an evaluation pass whose activations are not kept; false if
/// this is another pass, or the experts are not to be run so.
template <class X, class S, class Tape, class Exec>
bool forward_in_rooms(const std::vector<X>& experts, ConstMatrixRef<S> x_TD, Tape& tape, const Exec& executor) {
  if constexpr (StagedExpert<X, S> && !HasAuxiliaryLoss<X> && requires { experts[0].rows_of_block(); }) {
    const auto& plan = tape.plan;
    if (tape.keep_activations || tape.random) return false;
    if (!list_row_tasks(experts, plan, tasks_to_occupy(executor), tape.tasks)) return false;
    parallel_for(executor, static_cast<Index>(tape.tasks.size()), [&](Index i) {
      const auto [e, row, rows] = tape.tasks[static_cast<std::size_t>(i)];
      const Index begin = plan.begin_of(static_cast<Index>(e)) + row;
      auto room = std::exchange(BlockRoom<X, S>::mine(), {});
      hand_down_keeping(false, room.tape);
      const Index most = (std::min)(static_cast<Index>(experts[e].rows_of_block()), plan.slots());
      for (const Index room_for : {most, rows}) {  // of any block: no later one allocates
        room.x.resize(room_for, x_TD.cols());
        experts[e].begin_forward(room_for, room.tape);
      }
      dispatch_slots<S>(x_TD, plan, begin, room.x);
      forward_all_columns<X, S>(experts[e], X::stages, room.x, tape.y_NO.middleRows(begin, rows), room.tape, 0);
      BlockRoom<X, S>::mine() = std::move(room);
    });
    return true;
  } else {
    return false;
  }
}

/// tape.x_ND = the slots' tokens (none where nobody reads them), and tape.y_NO = the experts' outputs for them.
template <class X, class S, class Tape, class Exec>
void experts_forward(const std::vector<X>& experts, const Batch<S>& batch, Tape& tape, Random* random,
                     const Exec& executor) {
  const ConstMatrixRef<S>& x_TD = batch.x_TD;
  tape.x_ND.resize(0, x_TD.cols());
  tape.y_NO.resize(tape.plan.slots(), output_width(experts.front(), x_TD.cols()));
  if (tape.computed_in != tape.recompute_in) tape.experts.clear();  // activations of another pass
  tape.experts.resize(experts.size());
  for (std::size_t e = 0; e < experts.size(); ++e) {
    hand_down(random, tape.experts[e]);
    hand_down_tokens(batch, tape.plan, static_cast<Index>(e), tape.experts[e]);
  }
  begin_in_room(experts, tape);
  tape.computed_in = tape.recompute_in;
  tape.kept_activations = tape.keep_activations;
  if (forward_in_rooms<X, S>(experts, x_TD, tape, executor)) return;
  tape.x_ND.resize(tape.plan.slots(), x_TD.cols());
  run_forward(
      experts, stages_of<X>(), tape.keep_activations && tape.recompute_in == nullptr, tape, executor,
      [&](Index begin, Index count) { dispatch_slots<S>(x_TD, tape.plan, begin, tape.x_ND.middleRows(begin, count)); });
}

/// tape.dx_ND, and the gradients += those of the experts that have slots.
template <class X, class S, class Tape, class Exec>
void experts_backward(const std::vector<X>& experts, ConstMatrixRef<S> dy_NO, Tape& tape, std::vector<X>& gradients,
                      const Exec& executor) {
  tape.dx_ND.resize(tape.x_ND.rows(), tape.x_ND.cols());
  begin_in_room(experts, tape);
  if (tape.recompute_in != nullptr)
    run_forward(experts, saving_stages_of<X>(), true, tape, executor, [](Index, Index) {});
  const auto& plan = tape.plan;
  auto& tapes = tapes_at_work(tape);
  for (auto& expert_tape : tapes) hand_down_scale(tape.loss_scale, expert_tape);
  const auto x = [&](std::size_t e) { return rows_of_expert(plan, e, tape.x_ND); };
  const auto dy = [&](std::size_t e) { return rows_of_expert(plan, e, dy_NO); };
  const auto dx = [&](std::size_t e) { return rows_of_expert(plan, e, tape.dx_ND); };
  if constexpr (has_stages<X, S>()) {
    for_each_used_expert(plan, [&](std::size_t e) { experts[e].begin_backward(x(e).rows(), tapes[e]); });
    run_stages(
        X::stages, plan, tape.tasks, executor,
        [&](int stage, std::size_t e) { return experts[e].backward_columns(stage); },
        [&](int stage, std::size_t e, Index first, Index count) {
          experts[e].backward_stage(stage, x(e), dy(e), tapes[e], dx(e), gradients[e], first, count);
        });
  } else {
    parallel_for(executor, plan.experts(), [&](Index i) {
      const auto e = static_cast<std::size_t>(i);
      if (plan.rows_of(i) > 0) experts[e].backward(x(e), dy(e), tapes[e], dx(e), gradients[e]);
    });
  }
}

/// The passes of one expert, the columns of its stages as tasks if it has them; `begin_backward` is the caller's.
template <class S, class X, class Exec>
void expert_forward(const X& expert, ConstMatrixRef<S> x, MatrixRef<S> y, typename X::Tape& tape,
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
template <class S, class X, class Exec>
void expert_backward(const X& expert, ConstMatrixRef<S> x, ConstMatrixRef<S> dy, typename X::Tape& tape,
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
