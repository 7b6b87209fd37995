// Runs the experts of a layer over their slots. Experts that have stages are run stage by stage, all at once: a task is
// a few hundred columns of one expert, so that few experts too are work for several threads. Small ones take blocks of
// rows through all stages instead. Experts without stages are a task each.
//
// In all of these, the rows of expert e are first_row[e] ... first_row[e + 1] - 1 of all slots.
#pragma once

#include <cstddef>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/properties.hpp"
#include "moe/expert/stages.hpp"
#include "moe/layer/expert_tasks.hpp"
#include "moe/layer/recompute.hpp"
#include "moe/layer/run_in_cache.hpp"
#include "moe/layer/slot_rows.hpp"
#include "moe/layer/tape.hpp"
#include "moe/routing/dispatch.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Calls work(stage, e, first, count) for the columns of all experts, as tasks, one stage after the other;
/// `columns(stage, expert)` is how many columns an expert has in it.
template <class X, class Exec, class Columns, class Work>
void run_stages(const std::vector<X>& experts, int stages, const std::vector<Index>& first_row, ExpertTasks& tasks,
                const Exec& executor, const Columns& columns, const Work& work) {
  tasks.columns.resize(experts.size());
  for (int stage = 0; stage < stages; ++stage) {
    for (std::size_t e = 0; e < experts.size(); ++e) tasks.columns[e] = columns(stage, experts[e]);
    tasks.cut_columns(first_row, tasks_to_occupy(executor));
    parallel_for(executor, tasks.count(), [&](Index i) {
      const ExpertTask& task = tasks[i];
      work(stage, task.expert, task.first, task.count);
    });
  }
}

/// The first stages of the experts' forward passes, or the whole of those that have none, from tape.x_ND, which is
/// filled with the inputs on the way, into tape.y_NO.
template <class X, class S, class Tape, class Exec>
void run_forward(const std::vector<X>& experts, const std::vector<Index>& first_row, [[maybe_unused]] int stages,
                 bool keep_activations, Tape& tape, const SlotInputs<S>& inputs, const Exec& executor) {
  auto& tapes = tape.working_tapes();
  for (auto& expert_tape : tapes) set_keep_activations(keep_activations, expert_tape);
  MatrixRef<S> x_ND = tape.x_ND, y_NO = tape.y_NO;
  const auto write_inputs = [&](Index begin, Index count) { inputs(begin, rows_at<S>(x_ND, begin, count)); };
  const auto rows_of = [&](std::size_t e) { return first_row[e + 1] - first_row[e]; };
  if constexpr (has_stages<X, S>()) {
    for (std::size_t e = 0; e < experts.size(); ++e)
      if (rows_of(e) > 0) experts[e].begin_forward(rows_of(e), tapes[e]);
    if (tape.tasks.cut_rows(first_row, rows_of_common_block(experts, first_row), tasks_to_occupy(executor))) {
      parallel_for(executor, tape.tasks.count(), [&](Index i) {
        const auto [e, row, rows] = tape.tasks[i];
        const Index begin = first_row[e] + row;
        write_inputs(begin, rows);
        forward_all_columns<X, S>(experts[e], stages, rows_at<S>(x_ND, begin, rows), rows_at<S>(y_NO, begin, rows),
                                  tapes[e], row);
      });
    } else {
      parallel_blocks(executor, first_row.back(), rows_a_task, write_inputs);
      run_stages(
          experts, stages, first_row, tape.tasks, executor,
          [](int stage, const X& expert) { return static_cast<Index>(expert.forward_columns(stage)); },
          [&](int stage, std::size_t e, Index first, Index count) {
            experts[e].forward_stage(stage, rows_at<S>(x_ND, first_row[e], rows_of(e)),
                                     rows_at<S>(y_NO, first_row[e], rows_of(e)), tapes[e], 0, first, count);
          });
    }
  } else {
    parallel_for(executor, static_cast<Index>(experts.size()), [&](Index i) {
      const auto e = static_cast<std::size_t>(i);
      if (rows_of(e) == 0) return;
      write_inputs(first_row[e], rows_of(e));
      experts[e].forward(rows_at<S>(x_ND, first_row[e], rows_of(e)), rows_at<S>(y_NO, first_row[e], rows_of(e)),
                         tapes[e]);
    });
  }
}

/// Gets the experts' tapes ready for a forward pass: one for each, with a seed of its own.
template <class X, class Tape>
void begin_experts(const std::vector<X>& experts, Tape& tape) {
  if (tape.computed_in != tape.recompute_in) tape.experts.clear();  // activations of another pass
  tape.experts.resize(experts.size());
  for (auto& expert_tape : tape.experts) set_seed(tape.draws(), expert_tape);
  begin_recompute(experts, tape);
}

/// tape.x_ND = the slots' inputs, of this width (none where nobody reads them), and tape.y_NO = the experts' outputs
/// for them; after begin_experts.
template <class X, class S, class Tape, class Exec>
void experts_forward(const std::vector<X>& experts, const std::vector<Index>& first_row, Index width, Tape& tape,
                     const SlotInputs<S>& inputs, const Exec& executor) {
  tape.x_ND.resize(0, width);
  tape.y_NO.resize(first_row.back(), output_width(experts.front(), width));
  tape.computed_in = tape.recompute_in;
  if (!forward_in_cache<X, S>(experts, first_row, tape, inputs, executor)) {
    tape.x_ND.resize(first_row.back(), width);
    run_forward<X, S>(experts, first_row, stages_of<X>(), tape.keep_activations && tape.recompute_in == nullptr, tape,
                      inputs, executor);
  }
  tape.ran_experts = true;
  tape.kept_activations = tape.keep_activations;
}

/// tape.dx_ND, and the gradients += those of the experts that have slots. Of experts that have stages all refuse before
/// any writes.
template <class X, class S, class Tape, class Exec>
void experts_backward(const std::vector<X>& experts, const std::vector<Index>& first_row, ConstMatrixRef<S> dy_NO,
                      Tape& tape, std::vector<X>& gradients, const Exec& executor) {
  tape.dx_ND.resize(tape.x_ND.rows(), tape.x_ND.cols());
  begin_recompute(experts, tape);
  if (tape.recompute_in != nullptr)
    run_forward<X, S>(experts, first_row, saving_stages_of<X>(), true, tape, SlotInputs<S>{}, executor);
  auto& tapes = tape.working_tapes();
  for (auto& expert_tape : tapes) set_loss_scale(tape.loss_scale, expert_tape);
  const ConstMatrixRef<S> x_ND = tape.x_ND;
  MatrixRef<S> dx_ND = tape.dx_ND;
  const auto rows_of = [&](std::size_t e) { return first_row[e + 1] - first_row[e]; };
  if constexpr (has_stages<X, S>()) {
    for (std::size_t e = 0; e < experts.size(); ++e)
      if (rows_of(e) > 0) experts[e].begin_backward(rows_of(e), tapes[e]);
    run_stages(
        experts, X::stages, first_row, tape.tasks, executor,
        [](int stage, const X& expert) { return static_cast<Index>(expert.backward_columns(stage)); },
        [&](int stage, std::size_t e, Index first, Index count) {
          const Index begin = first_row[e], rows = rows_of(e);
          experts[e].backward_stage(stage, rows_at<S>(x_ND, begin, rows), rows_at<S>(dy_NO, begin, rows), tapes[e],
                                    rows_at<S>(dx_ND, begin, rows), gradients[e], first, count);
        });
  } else {
    parallel_for(executor, static_cast<Index>(experts.size()), [&](Index i) {
      const auto e = static_cast<std::size_t>(i);
      const Index begin = first_row[e], rows = rows_of(e);
      if (rows > 0)
        experts[e].backward(rows_at<S>(x_ND, begin, rows), rows_at<S>(dy_NO, begin, rows), tapes[e],
                            rows_at<S>(dx_ND, begin, rows), gradients[e]);
    });
  }
}

/// sum += the auxiliary losses of experts that are layers and got rows.
template <class X, class S, class Tape>
void add_losses(const std::vector<X>& experts, const std::vector<Index>& first_row, const Tape& tape, S& sum) {
  if constexpr (HasAuxiliaryLoss<X>) {
    require(tape.ran_experts && tape.experts.size() == experts.size(),
            "auxiliary_loss: the tape holds no forward pass of this layer's experts");
    for (std::size_t e = 0; e < experts.size(); ++e)
      if (first_row[e + 1] > first_row[e]) sum += experts[e].auxiliary_loss(tape.experts[e]);
  }
}

}  // namespace detail

MOE_NAMESPACE_END
