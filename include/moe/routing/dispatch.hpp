// The only movers of rows: dispatch copies tokens into slots, combine adds slots back to their tokens, and the adjoint
// of each. What adds to a token runs by token, over its slots in order of priority: no two tasks write one row, and the
// sum has one order.
#pragma once

#include <cstddef>
#include <string_view>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/kernel/rows.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index rows_a_task = 64;

/// Each token's row += the sum of its slots' rows times scale(slot), after start(row).
template <class S, class Exec, class Scale, class Start>
void add_slots(const ConstMatrixRef<S>& slots, const Plan<S>& plan, MatrixRef<S>& tokens, const Exec& executor,
               Scale&& scale, Start&& start) {
  const ListedRows<S> rows(slots, plan.token_slots);
  parallel_blocks(executor, plan.tokens(), rows_a_task, [&](Index first, Index count) {
    for (Index t = first; t < first + count; ++t) {
      auto row = tokens.row(t);
      start(row);
      for (Index i = plan.first_of_token[static_cast<std::size_t>(t)],
                 end = plan.first_of_token[static_cast<std::size_t>(t) + 1];
           i < end; ++i)
        rows.add(i, scale(plan.token_slots[static_cast<std::size_t>(i)]), row.data());
    }
  });
}

/// Throws std::invalid_argument unless there is a row for every slot and one for every token, of the same width.
template <class S, class Slots, class Tokens>
void require_rows(std::string_view what, const Plan<S>& plan, const Slots& slots, const Tokens& tokens) {
  require(slots.rows() == plan.slots() && tokens.rows() == plan.tokens() && slots.cols() == tokens.cols(), what, ": ",
          slots.rows(), " x ", slots.cols(), " for the slots and ", tokens.rows(), " x ", tokens.cols(),
          " for the tokens, the plan has ", plan.slots(), " slots of ", plan.tokens(), " tokens");
}

/// Throws std::invalid_argument unless all rows are of the plan's tokens, and its dropped choices are the routing's.
template <class S, class From, class To>
void check_dropped(std::string_view what, const Plan<S>& plan, const Routing<S>& routing, const From& from,
                   const To& to) {
  require(from.rows() == plan.tokens() && to.rows() == plan.tokens() && from.cols() == to.cols(), what, ": ",
          from.rows(), " x ", from.cols(), " and ", to.rows(), " x ", to.cols(), " for the plan's ", plan.tokens(),
          " tokens");
  for (const Index i : plan.dropped_choices) {
    require(i >= 0 && i < static_cast<Index>(routing.choices.size()), what, ": choice ", i, " was dropped, there are ",
            routing.choices.size());
    const Index token = routing.choices[static_cast<std::size_t>(i)].token;
    require(token >= 0 && token < plan.tokens(), what, ": a choice of token ", token, " was dropped, there are ",
            plan.tokens());
  }
}

/// to_ND: the rows of slots begin, begin + 1, ...
template <class S>
void dispatch_slots(const ConstMatrixRef<S>& x_TD, const Plan<S>& plan, Index begin, MatrixRef<S> to_ND) {
  const ListedRows<S> tokens(x_TD, plan.token);
  for (Index i = 0; i < to_ND.rows(); ++i) tokens.copy(begin + i, plan.input_scale(begin + i), to_ND.row(i).data());
}

}  // namespace detail

/// x_ND: row of slot n = the row of its token (times the weight, where the plan weighs the input).
template <class S, class Exec = Serial, class Rows>
void dispatch(detail::GivenRows<S> x_TD, const Plan<S>& plan, Rows& x_ND, const Exec& executor = {}) {
  x_ND.resize(plan.slots(), x_TD.cols());
  detail::require_rows("dispatch", plan, x_ND, x_TD);
  detail::parallel_blocks(executor, plan.slots(), detail::rows_a_task, [&](Index begin, Index count) {
    detail::dispatch_slots<S>(x_TD, plan, begin, x_ND.middleRows(begin, count));
  });
}

/// dx_TD: row of a token += the sum of its slots' rows (times their weights, where the plan weighs the input).
template <class S, class Exec = Serial>
void dispatch_backward(detail::GivenRows<S> dx_ND, const Plan<S>& plan, detail::WrittenRows<S> dx_TD,
                       const Exec& executor = {}) {
  detail::require_rows("dispatch_backward", plan, dx_ND, dx_TD);
  detail::add_slots<S>(
      dx_ND, plan, dx_TD, executor, [&](Index slot) { return plan.input_scale(slot); }, [](auto&) {});
}

/// y_TO: row of a token = the sum of weight * row of its slots (without the weight, where the plan weighs the input); 0
/// for a token without slots.
template <class S, class Exec = Serial>
void combine(detail::GivenRows<S> y_NO, const Plan<S>& plan, detail::WrittenRows<S> y_TO, const Exec& executor = {}) {
  detail::require_rows("combine", plan, y_NO, y_TO);
  detail::add_slots<S>(
      y_NO, plan, y_TO, executor, [&](Index slot) { return plan.output_scale(slot); },
      [](auto& row) { row.setZero(); });
}

/// dy_NO: row of a slot = weight * row of its token; dweight_N = row of the slot's output times row of its token (0
/// where the plan weighs the input: there the weight's gradient comes from the expert's input).
template <class S, class Exec = Serial, class Rows, class Entries>
void combine_backward(detail::GivenRows<S> dy_TO, const Plan<S>& plan, detail::GivenRows<S> y_NO, Rows& dy_NO,
                      Entries& dweight_N, const Exec& executor = {}) {
  detail::require_rows("combine_backward", plan, y_NO, dy_TO);
  dy_NO.resize(plan.slots(), dy_TO.cols());
  dweight_N.resize(plan.slots());
  const detail::ListedRows<S> tokens(dy_TO, plan.token);
  MatrixRef<S> to_NO = dy_NO;
  detail::parallel_blocks(executor, plan.slots(), detail::rows_a_task, [&](Index begin, Index count) {
    for (Index slot = begin; slot < begin + count; ++slot) {
      tokens.copy(slot, plan.output_scale(slot), to_NO.row(slot).data());
      const auto dy = dy_TO.row(plan.token[static_cast<std::size_t>(slot)]);
      dweight_N(slot) = plan.weighs_input ? S(0) : y_NO.row(slot).dot(dy);
    }
  });
}

/// dweight_N += x . dx of the slot: the part of the weight's gradient that comes through the expert's input, where the
/// weight multiplies it, or straight through.
template <class S, class Entries>
void add_input_weight_gradient(detail::GivenRows<S> x_TD, detail::GivenRows<S> dx_ND, const Plan<S>& plan,
                               Entries& dweight_N) {
  detail::require_rows("add_input_weight_gradient", plan, dx_ND, x_TD);
  require(dweight_N.size() == plan.slots(), "add_input_weight_gradient: ", dweight_N.size(), " weights of ",
          plan.slots(), " slots");
  for (Index slot = 0; slot < plan.slots(); ++slot)
    dweight_N(slot) += x_TD.row(plan.token[static_cast<std::size_t>(slot)]).dot(dx_ND.row(slot));
}

/// y_TD += weight * x for each dropped choice.
template <class S>
void pass_dropped(detail::GivenRows<S> x_TD, const Routing<S>& routing, const Plan<S>& plan,
                  detail::WrittenRows<S> y_TD) {
  detail::check_dropped("pass_dropped", plan, routing, x_TD, y_TD);
  for (const Index i : plan.dropped_choices) {
    const Choice<S>& c = routing.choices[static_cast<std::size_t>(i)];
    y_TD.row(c.token) += c.weight * x_TD.row(c.token);
  }
}

/// dx_TD += weight * dy, and the choice's dweight += x . dy, for each dropped choice.
template <class S>
void pass_dropped_backward(detail::GivenRows<S> x_TD, detail::GivenRows<S> dy_TD, const Routing<S>& routing,
                           const Plan<S>& plan, Routing<S>& drouting, detail::WrittenRows<S> dx_TD) {
  detail::check_dropped("pass_dropped_backward", plan, routing, x_TD, dx_TD);
  detail::check_dropped("pass_dropped_backward", plan, drouting, dy_TD, dx_TD);
  for (const Index i : plan.dropped_choices) {
    const Choice<S>& c = routing.choices[static_cast<std::size_t>(i)];
    dx_TD.row(c.token) += c.weight * dy_TD.row(c.token);
    drouting.choices[static_cast<std::size_t>(i)].weight += x_TD.row(c.token).dot(dy_TD.row(c.token));
  }
}

MOE_NAMESPACE_END
