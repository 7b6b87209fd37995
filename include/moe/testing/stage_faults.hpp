// The usual slips of an expert with stages: a stage that works on other columns than those it is called for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/number_bits.hpp"
#include "moe/core/parameters.hpp"
#include "moe/testing/gradient_report.hpp"

MOE_NAMESPACE_BEGIN

namespace testing {

/// Whether two matrices of the same size hold the same bits.
template <class A, class B>
bool have_same_bits(const A& a, const B& b) {
  return a.size() == 0 || std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(*a.data())) == 0;
}

/// Calls run(first, count) for all columns, cut at multiples of 16, the last part first.
template <class Run>
void for_each_part_from_last(Index columns, Run&& run) {
  for (Index part = (columns + panel_width - 1) / panel_width - 1; part >= 0; --part)
    run(part * panel_width, (std::min)(panel_width, columns - part * panel_width));
}

/// How many entries of `rows` the parts of a stage write, each part counted by itself: more than there are if two parts
/// write the same entry.
template <class S, class Run>
Index count_written(Index columns, Matrix<S>& rows, Run&& run) {
  Index written = 0;
  for_each_part_from_last(columns, [&](Index first, Index count) {
    for (Index i = 0; i < rows.size(); ++i) detail::mark_unwritten(rows.data()[i]);
    run(first, count);
    for (Index i = 0; i < rows.size(); ++i) written += detail::is_unwritten(rows.data()[i]) ? 0 : 1;
  });
  return written;
}

/// Runs both passes by stages whose columns are cut at multiples of 16, as the threads of a layer do, and says in words
/// where that gives other bits than the passes in one piece, or where two parts of a stage write the same numbers. It
/// sees nothing in stages of 16 columns or less, which are never cut. `new_tape()` makes a tape.
template <class X, class S, class NewTape>
void name_stage_faults(const X& expert, const Matrix<S>& x, const Matrix<S>& dy, NewTape&& new_tape,
                       GradientReport& report) {
  const std::string cut = " with columns cut at multiples of " + std::to_string(panel_width) + " ";
  Matrix<S> whole_y(dy.rows(), dy.cols()), y = dy, whole_dx(x.rows(), x.cols()), dx = x;
  X whole_gradient = zeros_like(expert), gradient = zeros_like(expert), unused = zeros_like(expert);
  auto whole_tape = new_tape(), tape = new_tape(), other_tape = new_tape();

  expert.forward(x, whole_y, whole_tape);
  expert.begin_forward(x.rows(), tape);
  expert.begin_forward(x.rows(), other_tape);
  for (int stage = 0; stage < X::stages; ++stage) {
    const Index columns = expert.forward_columns(stage);
    for_each_part_from_last(
        columns, [&](Index first, Index count) { expert.forward_stage(stage, x, y, tape, 0, first, count); });
    Matrix<S> marked = y;
    const Index written = count_written(columns, marked, [&](Index first, Index count) {
      expert.forward_stage(stage, x, marked, other_tape, 0, first, count);
    });
    if (written > y.size())
      report.add_fault("forward_stage" + cut + "writes entries of y for more than one part: it must work on columns " +
                       "first ... first + count - 1 alone");
  }
  if (!have_same_bits(whole_y, y)) {
    report.add_fault("forward_stage" + cut + "gives another y than forward does in one piece");
    return;  // the backward pass would read a wrong tape
  }

  expert.backward(x, dy, whole_tape, whole_dx, whole_gradient);
  expert.begin_backward(x.rows(), tape);
  for (int stage = 0; stage < X::stages; ++stage)
    for_each_part_from_last(expert.backward_columns(stage), [&](Index first, Index count) {
      expert.backward_stage(stage, x, dy, tape, dx, gradient, first, count);
    });
  if (!have_same_bits(whole_dx, dx))
    report.add_fault("backward_stage" + cut + "gives another dx than backward does in one piece");
  for_each_parameter(
      [&](std::string_view name, const auto& of_whole, const auto& of_parts) {
        if (!have_same_bits(of_whole, of_parts))
          report.add_fault("backward_stage" + cut + "gives another gradient of '" + std::string(name) +
                           "' than backward does in one piece");
      },
      whole_gradient, gradient);
  expert.begin_backward(x.rows(), tape);
  for (int stage = 0; stage < X::stages; ++stage) {
    const Index written = count_written(expert.backward_columns(stage), dx, [&](Index first, Index count) {
      expert.backward_stage(stage, x, dy, tape, dx, unused, first, count);
    });
    if (written > dx.size())
      report.add_fault("backward_stage" + cut + "writes entries of dx for more than one part: it must work on " +
                       "columns first ... first + count - 1 alone");
  }
}

}  // namespace testing

MOE_NAMESPACE_END
