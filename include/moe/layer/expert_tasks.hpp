// The tasks into which the work of many experts is cut: columns of one expert's stage, or rows of one expert that go
// through all its stages. No result depends on where they are cut.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/kernel/packing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Columns first ... first + count - 1 of one expert's stage, or as many of its rows through all its stages.
struct ExpertTask {
  std::size_t expert;
  Index first, count;
};

/// Of all columns of a stage, as many as a task gets: `most`, or fewer if that leaves fewer tasks than `wanted`.
inline Index columns_of_task(Index all, Index wanted, Index most) {
  return std::clamp(all / wanted / 64 * 64, Index{64}, most);
}

/// A list of tasks. The rows of expert e are first_row[e] ... first_row[e + 1] - 1 of all, as in Plan::first_slot. Kept
/// from pass to pass, it allocates once.
struct ExpertTasks {
  std::vector<ExpertTask> list;
  std::vector<Index> columns;  ///< E: of the stage at hand, set before cut_columns.

  Index count() const { return static_cast<Index>(list.size()); }
  const ExpertTask& operator[](Index i) const { return list[static_cast<std::size_t>(i)]; }

  /// Columns of all experts that have rows. Many rows are packed once for many columns; few rows are multiplied by up
  /// to 128 columns at once, so they get a multiple of that.
  void cut_columns(const std::vector<Index>& first_row, Index wanted) {
    Index total = 0, most_tasks = 0;
    for (std::size_t e = 0; e < columns.size(); ++e) {
      if (first_row[e + 1] > first_row[e]) total += columns[e];
      most_tasks += columns[e] / 64 + 1;
    }
    list.reserve(static_cast<std::size_t>(most_tasks));  // of any plan: no later one allocates
    list.clear();
    const Index of_many_rows = columns_of_task(total, wanted, 512);
    for (std::size_t e = 0; e < columns.size(); ++e) {
      const Index rows = first_row[e + 1] - first_row[e];
      if (rows == 0) continue;
      const Index at_once = rows > 16 ? of_many_rows : of_many_rows < 256 ? Index{128} : Index{256};
      for (Index first = 0; first < columns[e]; first += at_once)
        list.push_back({e, first, (std::min)(at_once, columns[e] - first)});
    }
  }

  /// Blocks of at most `most` rows. false if there are none, or so few tasks, or one of so large a part of all rows,
  /// that threads would be idle.
  bool cut_rows(const std::vector<Index>& first_row, Index most, Index wanted) {
    const Index rows = first_row.back();
    if (most <= 0 || rows / most / 2 < wanted) return false;
    list.clear();
    list.reserve(first_row.size() - 1 + static_cast<std::size_t>(rows / most));
    for (std::size_t e = 0; e + 1 < first_row.size(); ++e) {
      if (first_row[e + 1] == first_row[e]) continue;
      const EvenParts blocks{first_row[e + 1] - first_row[e], most};
      for (Index block = 0; block < blocks.count(); ++block)
        list.push_back({e, blocks.begin(block), blocks.size(block)});
    }
    return count() / 4 >= wanted;
  }
};

}  // namespace detail

MOE_NAMESPACE_END
