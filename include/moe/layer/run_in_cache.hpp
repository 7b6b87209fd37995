// Inference by small experts: a block of rows goes through all stages in memory of the thread that runs it, where it
// stays in the caches. Nothing but the outputs is left.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/expert/properties.hpp"
#include "moe/expert/tape_settings.hpp"
#include "moe/layer/expert_tasks.hpp"
#include "moe/layer/slot_rows.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The largest block that all experts with rows can take through their stages; 0: one of them cannot.
template <class X>
Index rows_of_common_block(const std::vector<X>& experts, const std::vector<Index>& first_row) {
  if constexpr (requires { experts[0].rows_of_block(); }) {
    Index most = (std::max)(Index{1}, first_row.back());
    for (std::size_t e = 0; e < experts.size(); ++e)
      if (first_row[e + 1] > first_row[e]) most = (std::min)(most, static_cast<Index>(experts[e].rows_of_block()));
    return most;
  } else {
    return 0;
  }
}

/// Rows, the expert's from `row` on, through its first stages.
template <class X, class S>
void forward_all_columns(const X& expert, int stages, ConstMatrixRef<S> x, MatrixRef<S> y, typename X::Tape& tape,
                         Index row) {
  for (int stage = 0; stage < stages; ++stage)
    if (const Index all = expert.forward_columns(stage); all > 0) expert.forward_stage(stage, x, y, tape, row, 0, all);
}

/// A thread's memory for the rows of one block.
template <class X, class S>
struct BlockMemory {
  Buffer<Matrix<S>> x;
  typename X::Tape tape;

  /// The calling thread's. A task takes it out while it works: a pass that is run meanwhile makes one of its own.
  static BlockMemory& mine() {
    thread_local BlockMemory memory;
    return memory;
  }
};

/// tape.y_NO = the experts' outputs, in an evaluation pass whose activations are not kept; false if this is another
/// pass, or the experts are not to be run so.
template <class X, class S, class Tape, class Exec>
bool forward_in_cache(const std::vector<X>& experts, const std::vector<Index>& first_row, Tape& tape,
                      const SlotInputs<S>& inputs, const Exec& executor) {
  if constexpr (StagedExpert<X, S> && !HasAuxiliaryLoss<X> && requires { experts[0].rows_of_block(); }) {
    if (tape.keep_activations || tape.random) return false;
    if (!tape.tasks.cut_rows(first_row, rows_of_common_block(experts, first_row), tasks_to_occupy(executor)))
      return false;
    MatrixRef<S> y_NO = tape.y_NO;
    const Index width = tape.x_ND.cols();
    parallel_for(executor, tape.tasks.count(), [&](Index i) {
      const auto [e, row, rows] = tape.tasks[i];
      const Index begin = first_row[e] + row;
      auto memory = std::exchange(BlockMemory<X, S>::mine(), {});
      set_keep_activations(false, memory.tape);
      const Index most = (std::min)(static_cast<Index>(experts[e].rows_of_block()), first_row.back());
      for (const Index for_rows : {most, rows}) {  // of any block: no later one allocates
        memory.x.resize(for_rows, width);
        experts[e].begin_forward(for_rows, memory.tape);
      }
      inputs(begin, memory.x);
      forward_all_columns<X, S>(experts[e], X::stages, memory.x, rows_at<S>(y_NO, begin, rows), memory.tape, 0);
      BlockMemory<X, S>::mine() = std::move(memory);
    });
    return true;
  } else {
    return false;
  }
}

}  // namespace detail

MOE_NAMESPACE_END
