// One pass of one expert, forward and backward.
#pragma once

#include <random>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "support/expect_invalid.hpp"
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

/// Of an expert with hidden units, called by itself.
template <class X>
void expect_rows_of_other_shapes_are_refused() {
  using support::expect_invalid;
  std::mt19937_64 generator{1};
  const auto expert = X::random(6, 5, generator);
  const Matrix<float> rows = Matrix<float>::Zero(2, 6), narrow = Matrix<float>::Zero(2, 3);
  const Matrix<float> more = Matrix<float>::Zero(3, 6);
  Matrix<float> y = rows, dx = rows, short_y = narrow, more_dx = more;
  typename X::Tape tape;
  auto gradient = zeros_like(expert);
  expect_invalid([&] { expert.forward(narrow, y, tape); }, {"the tokens have width 3"});
  expect_invalid([&] { expert.forward(rows, short_y, tape); }, {"y is 2 x 3", "2 x 6"});
  expert.forward(rows, y, tape);
  expect_invalid([&] { expert.backward(rows, narrow, tape, dx, gradient); }, {"dy is 2 x 3"});
  expect_invalid([&] { expert.backward(rows, y, tape, short_y, gradient); }, {"dx is 2 x 3"});
  expect_invalid([&] { expert.backward(more, more, tape, more_dx, gradient); }, {"tape is 2 x 5", "3 x 5"});
}

}  // namespace moe::expert
