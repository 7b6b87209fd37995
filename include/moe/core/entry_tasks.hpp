// The entries of many parameters as tasks of about the same size: large parameters are cut, small ones put together.
// How depends on the numbers of entries alone, so that sums over tasks have the same bits for any number of threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/executor_ref.hpp"
#include "moe/core/function_ref.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

class EntryTasks {
 public:
  static constexpr Index entries_of_task = Index{1} << 16;  ///< At most.

  using Body = FunctionRef<void(Index task, std::size_t run, Index begin, Index count)>;

  /// Lists a run of so many entries; the first run is number 0.
  void add(Index count) {
    const std::size_t run = runs_++;
    for (Index begin = 0; begin < count; begin += entries_of_task) {
      const Index size = (std::min)(entries_of_task, count - begin);
      if (firsts_.empty() || entries_ + size > entries_of_task) {
        firsts_.push_back(pieces_.size());
        entries_ = 0;
      }
      pieces_.push_back({run, begin, size});
      entries_ += size;
    }
  }

  Index size() const { return static_cast<Index>(firsts_.size()); }

  /// Calls f for each piece of a run in this task, in order.
  void run_one(Index task, Body f) const {
    const auto next = static_cast<std::size_t>(task) + 1;
    const std::size_t end = next < firsts_.size() ? firsts_[next] : pieces_.size();
    for (std::size_t i = firsts_[next - 1]; i < end; ++i) f(task, pieces_[i].run, pieces_[i].begin, pieces_[i].count);
  }

  void run(ExecutorRef executor, Body f) const {
    executor.parallel_for(size(), [&](Index task) { run_one(task, f); });
  }

 private:
  struct Piece {
    std::size_t run;
    Index begin, count;
  };
  std::vector<Piece> pieces_;
  std::vector<std::size_t> firsts_;  ///< Of each task, in pieces_.
  std::size_t runs_ = 0;
  Index entries_ = 0;  ///< Of the last task.
};

}  // namespace detail

MOE_NAMESPACE_END
