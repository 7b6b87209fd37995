// One pass of one expert, forward and backward.
#pragma once

#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/parameters.hpp"
#include "support/matrices.hpp"

namespace moe::expert {

template <class X, class S>
struct Pass {
  typename X::Tape tape;
  Matrix<S> y, dx;
  X gradient;

  Pass(const X& expert, const Matrix<S>& x, const Matrix<S>& dy)
      : y(dy.rows(), dy.cols()), dx(x.rows(), x.cols()), gradient(zeros_like(expert)) {
    support::poison(y);
    support::poison(dx);
    expert.forward(x, y, tape);
    expert.backward(x, dy, tape, dx, gradient);
  }
};

template <class X, class S>
Pass(const X&, const Matrix<S>&, const Matrix<S>&) -> Pass<X, S>;

}  // namespace moe::expert
