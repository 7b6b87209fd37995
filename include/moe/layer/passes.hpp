// The forms in which every layer's passes are called, once for all layers.
#pragma once

#include <type_traits>
#include <utility>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/routing/batch.hpp"

MOE_NAMESPACE_BEGIN

/// A layer derives from `LayerPasses<itself>`; its own are Scalar, Tape, output_width and
///   forward_into(batch, y_TO, tape, executor) const
///   backward_into(batch, dy_TO, tape, dx_TD, gradient, executor) const
/// Everywhere: T tokens of width D, O = output_width(D). Executor: DefaultExecutor unless one is given;
/// `forward<Serial>` names its type.
template <class Self>
struct LayerPasses {
  /// y_TO (T, O) for the tokens; inference: no draws, the inference capacity, and nothing is kept.
  template <class Exec = DefaultExecutor, class L = Self,
            class = std::enable_if_t<!std::is_base_of_v<typename L::Tape, Exec>>>  // a tape is for the next form
  Matrix<typename L::Scalar> forward(const Batch<typename L::Scalar>& batch, const Exec& executor = {}) const {
    typename L::Tape tape;
    tape.keep_activations = false;
    return forward(batch, tape, executor);
  }

  /// The same with a tape: for training (a seeded tape), or to spare allocations.
  template <class Exec = DefaultExecutor, class L = Self>
  Matrix<typename L::Scalar> forward(const Batch<typename L::Scalar>& batch, typename L::Tape& tape,
                                     const Exec& executor = {}) const {
    Matrix<typename L::Scalar> y_TO(batch.tokens(), self().output_width(batch.x_TD.cols()));
    self().forward_into(batch, y_TO, tape, executor);
    return y_TO;
  }

  /// dx_TD (T, D), given dy_TO (T, O) of the pass that `tape` recorded; gradient += that of the output and of the
  /// auxiliary losses.
  template <class Exec = DefaultExecutor, class L = Self>
  Matrix<typename L::Scalar> backward(const Batch<typename L::Scalar>& batch, RowsRef<typename L::Scalar> dy_TO,
                                      typename L::Tape& tape, L& gradient, const Exec& executor = {}) const {
    Matrix<typename L::Scalar> dx_TD(batch.tokens(), batch.x_TD.cols());
    self().backward_into(batch, std::move(dy_TO), tape, dx_TD, gradient, executor);
    return dx_TD;
  }

  /// As an expert of another layer, whose tasks are the parallel ones: the rows that it is given are one group.
  template <class L = Self>
  void forward(ConstMatrixRef<typename L::Scalar> x_TD, MatrixRef<typename L::Scalar> y_TO,
               typename L::Tape& tape) const {
    self().forward_into(tape.inner_batch(x_TD), y_TO, tape, Serial{});
  }
  template <class L = Self>
  void backward(ConstMatrixRef<typename L::Scalar> x_TD, ConstMatrixRef<typename L::Scalar> dy_TO,
                typename L::Tape& tape, MatrixRef<typename L::Scalar> dx_TD, L& gradient) const {
    self().backward_into(tape.inner_batch(x_TD), dy_TO, tape, dx_TD, gradient, Serial{});
  }

 private:
  const Self& self() const { return static_cast<const Self&>(*this); }
};

MOE_NAMESPACE_END
