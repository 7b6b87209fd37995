// The only movers of rows: dispatch copies tokens into slots, combine adds slots back to their tokens, and the adjoint
// of each. What adds to a token runs by token, over its slots in order of priority: no two tasks write one row, and the
// sum has one order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/kernel/row_arithmetic.hpp"
#include "moe/kernel/rows.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline constexpr Index rows_a_task = 64;

/// Each token's row += the sum of its slots' rows, times their weights if `weighs`; each row begins `from_zero` or not.
template <class S>
void add_slots(const ConstMatrixRef<S>& slots, const Plan<S>& plan, MatrixRef<S>& tokens, ExecutorRef executor,
               bool weighs, bool from_zero) {
  const ListedRows<S> rows(slots, plan.token_slots);
  parallel_blocks(executor, plan.tokens(), rows_a_task, [&](Index first, Index count) {
    for (Index t = first; t < first + count; ++t) {
      S* const row = row_at(tokens, t);
      if (from_zero) std::fill_n(row, tokens.cols(), S(0));
      const Index end = plan.first_of_token[static_cast<std::size_t>(t) + 1];
      for (Index i = plan.first_of_token[static_cast<std::size_t>(t)]; i < end; ++i) {
        const auto slot = static_cast<std::size_t>(plan.token_slots[static_cast<std::size_t>(i)]);
        rows.add(i, weighs ? plan.weight[slot] : S(1), row);
      }
    }
  });
}

/// In the order of Eigen's sum, by one type of row.
template <class S>
S dot_of_rows(const S* a, const S* b, Index size) {
  return Eigen::Map<const Vector<S>>(a, size).dot(Eigen::Map<const Vector<S>>(b, size));
}

/// Throws std::invalid_argument unless there is a row for every slot and one for every token, of the same width.
template <class S>
void require_rows(std::string_view what, const Plan<S>& plan, const ConstMatrixRef<S>& slots,
                  const ConstMatrixRef<S>& tokens) {
  require(slots.rows() == plan.slots() && tokens.rows() == plan.tokens() && slots.cols() == tokens.cols(), what, ": ",
          slots.rows(), " x ", slots.cols(), " for the slots and ", tokens.rows(), " x ", tokens.cols(),
          " for the tokens, the plan has ", plan.slots(), " slots of ", plan.tokens(), " tokens");
}

/// Throws std::invalid_argument unless all rows are of the plan's tokens, and its dropped choices are the routing's.
template <class S>
void check_dropped(std::string_view what, const Plan<S>& plan, const Routing<S>& routing, const ConstMatrixRef<S>& from,
                   const MatrixRef<S>& to) {
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
  for (Index i = 0; i < to_ND.rows(); ++i) tokens.copy(begin + i, plan.input_scale(begin + i), row_at(to_ND, i));
}

/// The slots' rows as tasks.
template <class S>
void dispatch_all(const ConstMatrixRef<S>& x_TD, const Plan<S>& plan, MatrixRef<S> x_ND, ExecutorRef executor) {
  const ListedRows<S> tokens(x_TD, plan.token);
  parallel_blocks(executor, plan.slots(), rows_a_task, [&](Index begin, Index count) {
    for (Index slot = begin; slot < begin + count; ++slot)
      tokens.copy(slot, plan.input_scale(slot), row_at(x_ND, slot));
  });
}

template <class S>
void combine_all_backward(const ConstMatrixRef<S>& dy_TO, const Plan<S>& plan, const ConstMatrixRef<S>& y_NO,
                          MatrixRef<S> dy_NO, S* dweight_N, ExecutorRef executor) {
  const ListedRows<S> tokens(dy_TO, plan.token);
  parallel_blocks(executor, plan.slots(), rows_a_task, [&](Index begin, Index count) {
    for (Index slot = begin; slot < begin + count; ++slot) {
      tokens.copy(slot, plan.output_scale(slot), row_at(dy_NO, slot));
      const S* const dy = row_at(dy_TO, plan.token[static_cast<std::size_t>(slot)]);
      dweight_N[slot] = plan.weighs_input ? S(0) : dot_of_rows(row_at(y_NO, slot), dy, dy_TO.cols());
    }
  });
}

}  // namespace detail

/// x_ND: row of slot n = the row of its token (times the weight, where the plan weighs the input).
template <class S, class Rows>
void dispatch(detail::GivenRows<S> x_TD, const Plan<S>& plan, Rows& x_ND, detail::ExecutorRef executor = Serial{}) {
  x_ND.resize(plan.slots(), x_TD.cols());
  detail::require_rows<S>("dispatch", plan, x_ND, x_TD);
  detail::dispatch_all<S>(x_TD, plan, x_ND, executor);
}

/// dx_TD: row of a token += the sum of its slots' rows (times their weights, where the plan weighs the input).
template <class S>
void dispatch_backward(detail::GivenRows<S> dx_ND, const Plan<S>& plan, detail::WrittenRows<S> dx_TD,
                       detail::ExecutorRef executor = Serial{}) {
  detail::require_rows<S>("dispatch_backward", plan, dx_ND, dx_TD);
  detail::add_slots<S>(dx_ND, plan, dx_TD, executor, plan.weighs_input, false);
}

/// y_TO: row of a token = the sum of weight * row of its slots (without the weight, where the plan weighs the input); 0
/// for a token without slots.
template <class S>
void combine(detail::GivenRows<S> y_NO, const Plan<S>& plan, detail::WrittenRows<S> y_TO,
             detail::ExecutorRef executor = Serial{}) {
  detail::require_rows<S>("combine", plan, y_NO, y_TO);
  detail::add_slots<S>(y_NO, plan, y_TO, executor, !plan.weighs_input, true);
}

/// dy_NO: row of a slot = weight * row of its token; dweight_N = row of the slot's output times row of its token (0
/// where the plan weighs the input: there the weight's gradient comes from the expert's input).
template <class S, class Rows, class Entries>
void combine_backward(detail::GivenRows<S> dy_TO, const Plan<S>& plan, detail::GivenRows<S> y_NO, Rows& dy_NO,
                      Entries& dweight_N, detail::ExecutorRef executor = Serial{}) {
  detail::require_rows<S>("combine_backward", plan, y_NO, dy_TO);
  dy_NO.resize(plan.slots(), dy_TO.cols());
  dweight_N.resize(plan.slots());
  detail::combine_all_backward<S>(dy_TO, plan, y_NO, dy_NO, dweight_N.data(), executor);
}

/// dweight_N += x . dx of the slot: the part of the weight's gradient that comes through the expert's input, where the
/// weight multiplies it, or straight through.
template <class S, class Entries>
void add_input_weight_gradient(detail::GivenRows<S> x_TD, detail::GivenRows<S> dx_ND, const Plan<S>& plan,
                               Entries& dweight_N) {
  detail::require_rows<S>("add_input_weight_gradient", plan, dx_ND, x_TD);
  require(dweight_N.size() == plan.slots(), "add_input_weight_gradient: ", dweight_N.size(), " weights of ",
          plan.slots(), " slots");
  for (Index slot = 0; slot < plan.slots(); ++slot)
    dweight_N.data()[slot] += detail::dot_of_rows(detail::row_at(x_TD, plan.token[static_cast<std::size_t>(slot)]),
                                                  detail::row_at(dx_ND, slot), x_TD.cols());
}

/// y_TD += weight * x for each dropped choice.
template <class S>
void pass_dropped(detail::GivenRows<S> x_TD, const Routing<S>& routing, const Plan<S>& plan,
                  detail::WrittenRows<S> y_TD) {
  detail::check_dropped<S>("pass_dropped", plan, routing, x_TD, y_TD);
  for (const Index i : plan.dropped_choices) {
    const Choice<S>& c = routing.choices[static_cast<std::size_t>(i)];
    detail::add_scaled_row(c.weight, detail::row_at(x_TD, c.token), x_TD.cols(), detail::row_at(y_TD, c.token));
  }
}

/// dx_TD += weight * dy, and the choice's dweight += x . dy, for each dropped choice.
template <class S>
void pass_dropped_backward(detail::GivenRows<S> x_TD, detail::GivenRows<S> dy_TD, const Routing<S>& routing,
                           const Plan<S>& plan, Routing<S>& drouting, detail::WrittenRows<S> dx_TD) {
  detail::check_dropped<S>("pass_dropped_backward", plan, routing, x_TD, dx_TD);
  detail::check_dropped<S>("pass_dropped_backward", plan, drouting, dy_TD, dx_TD);
  for (const Index i : plan.dropped_choices) {
    const Choice<S>& c = routing.choices[static_cast<std::size_t>(i)];
    const S *const x = detail::row_at(x_TD, c.token), *const dy = detail::row_at(dy_TD, c.token);
    detail::add_scaled_row(c.weight, dy, x_TD.cols(), detail::row_at(dx_TD, c.token));
    drouting.choices[static_cast<std::size_t>(i)].weight += detail::dot_of_rows(x, dy, x_TD.cols());
  }
}

#ifdef MOE_COMPILED
namespace detail {
MOE_DETAIL_INSTANCE void add_slots<float>(const ConstMatrixRef<float>&, const Plan<float>&, MatrixRef<float>&,
                                          ExecutorRef, bool, bool);
MOE_DETAIL_INSTANCE void dispatch_slots<float>(const ConstMatrixRef<float>&, const Plan<float>&, Index,
                                               MatrixRef<float>);
MOE_DETAIL_INSTANCE void dispatch_all<float>(const ConstMatrixRef<float>&, const Plan<float>&, MatrixRef<float>,
                                             ExecutorRef);
MOE_DETAIL_INSTANCE void combine_all_backward<float>(const ConstMatrixRef<float>&, const Plan<float>&,
                                                     const ConstMatrixRef<float>&, MatrixRef<float>, float*,
                                                     ExecutorRef);
MOE_DETAIL_INSTANCE void require_rows<float>(std::string_view, const Plan<float>&, const ConstMatrixRef<float>&,
                                             const ConstMatrixRef<float>&);
MOE_DETAIL_INSTANCE void check_dropped<float>(std::string_view, const Plan<float>&, const Routing<float>&,
                                              const ConstMatrixRef<float>&, const MatrixRef<float>&);
MOE_DETAIL_INSTANCE void add_slots<double>(const ConstMatrixRef<double>&, const Plan<double>&, MatrixRef<double>&,
                                           ExecutorRef, bool, bool);
MOE_DETAIL_INSTANCE void dispatch_slots<double>(const ConstMatrixRef<double>&, const Plan<double>&, Index,
                                                MatrixRef<double>);
MOE_DETAIL_INSTANCE void dispatch_all<double>(const ConstMatrixRef<double>&, const Plan<double>&, MatrixRef<double>,
                                              ExecutorRef);
MOE_DETAIL_INSTANCE void combine_all_backward<double>(const ConstMatrixRef<double>&, const Plan<double>&,
                                                      const ConstMatrixRef<double>&, MatrixRef<double>, double*,
                                                      ExecutorRef);
MOE_DETAIL_INSTANCE void require_rows<double>(std::string_view, const Plan<double>&, const ConstMatrixRef<double>&,
                                              const ConstMatrixRef<double>&);
MOE_DETAIL_INSTANCE void check_dropped<double>(std::string_view, const Plan<double>&, const Routing<double>&,
                                               const ConstMatrixRef<double>&, const MatrixRef<double>&);
}  // namespace detail
MOE_DETAIL_INSTANCE void pass_dropped<float>(detail::GivenRows<float>, const Routing<float>&, const Plan<float>&,
                                             detail::WrittenRows<float>);
MOE_DETAIL_INSTANCE void pass_dropped_backward<float>(detail::GivenRows<float>, detail::GivenRows<float>,
                                                      const Routing<float>&, const Plan<float>&, Routing<float>&,
                                                      detail::WrittenRows<float>);
MOE_DETAIL_INSTANCE void pass_dropped<double>(detail::GivenRows<double>, const Routing<double>&, const Plan<double>&,
                                              detail::WrittenRows<double>);
MOE_DETAIL_INSTANCE void pass_dropped_backward<double>(detail::GivenRows<double>, detail::GivenRows<double>,
                                                       const Routing<double>&, const Plan<double>&, Routing<double>&,
                                                       detail::WrittenRows<double>);
#endif

MOE_NAMESPACE_END
