// The rows of a layer's slots: views of some of them, and where they come from.
#pragma once

#include "moe/core/core.hpp"
#include "moe/routing/dispatch.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Rows begin ... begin + count - 1.
template <class S>
ConstMatrixRef<S> rows_at(const ConstMatrixRef<S>& rows, Index begin, Index count) {
  return Eigen::Map<const Matrix<S>, 0, Eigen::OuterStride<>>(rows.data() + begin * rows.outerStride(), count,
                                                              rows.cols(), Eigen::OuterStride<>(rows.outerStride()));
}
template <class S>
MatrixRef<S> rows_at(MatrixRef<S>& rows, Index begin, Index count) {
  return Eigen::Map<Matrix<S>, 0, Eigen::OuterStride<>>(rows.data() + begin * rows.outerStride(), count, rows.cols(),
                                                        Eigen::OuterStride<>(rows.outerStride()));
}

/// Writes the inputs of slots begin, begin + 1, ... : how a layer gives its tokens to its experts. An address and a
/// function, so that the code that runs experts is the same for every layer.
template <class S>
struct SlotInputs {
  const void* from = nullptr;
  void (*write)(const void* from, Index begin, MatrixRef<S> rows_ND) = nullptr;  ///< null: they are there already.

  void operator()(Index begin, MatrixRef<S> rows_ND) const {
    if (write != nullptr) write(from, begin, rows_ND);
  }
};

/// The slots' inputs, copied from the tokens.
template <class S>
struct DispatchedTokens {
  const ConstMatrixRef<S>& x_TD;
  const Plan<S>& plan;

  SlotInputs<S> inputs() const {
    return {this, [](const void* from, Index begin, MatrixRef<S> rows_ND) {
              const auto& tokens = *static_cast<const DispatchedTokens*>(from);
              dispatch_slots<S>(tokens.x_TD, tokens.plan, begin, rows_ND);
            }};
  }
};

}  // namespace detail

MOE_NAMESPACE_END
