// Experts and executors for the tests of how a layer runs its experts.
#pragma once

#include <random>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"
#include "moe/gating/top_k.hpp"
#include "moe/layer/layer.hpp"
#include "moe/router/router.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace layer_experts {

/// The same expert, but nobody knows that it has stages: as a user's own would be.
template <class X>
struct Whole {
  X inner;
  using Tape = typename X::Tape;
  using S = float;

  Index output_width() const { return inner.output_width(); }
  void forward(ConstMatrixRef<S> x, MatrixRef<S> y, Tape& tape) const { inner.forward(x, y, tape); }
  void backward(ConstMatrixRef<S> x, ConstMatrixRef<S> dy, Tape& tape, MatrixRef<S> dx, Whole& gradient) const {
    inner.backward(x, dy, tape, dx, gradient.inner);
  }
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    X::visit_parameters(f, self.inner...);
  }
};

/// The calling thread, which claims to be many: cut work as small as they would want it.
struct ManyThreads : Serial {
  Index threads_at_work() const { return 1000; }
};

template <class X>
using LayerOf = Layer<Router<float>, TopK, X>;

/// The outputs of passes that nothing is kept of: one with draws, if `draws`, which is not taken for the other.
template <class Exec, class X>
Matrix<float> inference(const std::vector<X>& experts, bool draws, typename LayerOf<X>::Tape& tape) {
  std::mt19937_64 rng(1);
  const LayerOf<X> layer{Router<float>::random(static_cast<Index>(experts.size()), 21, rng), TopK{.k = 2}, experts};
  tape.keep_activations = false;
  if (draws) tape.random.emplace(3);
  return layer.forward(support::random_matrix<float>(120, 21, 2), tape, Exec{});
}

}  // namespace layer_experts
}  // namespace moe
