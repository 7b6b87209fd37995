#include "moe/layer/run_routing.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "moe/core/executor.hpp"
#include "moe/layer/tape.hpp"
#include "moe/router/router.hpp"
#include "support/expect_invalid.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace run_routing_test {

const Matrix<double> x_TD{{1, 0}, {0, 3}, {2, 1}};

/// A router of a user's, as short as it may be: the logits are the tokens, and no pass takes an executor.
struct Plain {
  using Scalar = double;
  struct Tape {
    int passes = 0;
    Random* random = nullptr;
  };

  double bias = 0;

  Index experts() const { return 2; }
  Index width() const { return 2; }
  void forward(const Batch<double>& batch, Routing<double>& routing, Tape& tape, Random* random) const {
    routing.logits_TE = batch.x_TD;
    ++tape.passes;
    tape.random = random;
  }
  void backward(const Batch<double>&, const Routing<double>&, const Routing<double>& drouting, Tape& tape,
                MatrixRef<double> dx_TD, Plain& gradient) const {
    dx_TD += drouting.logits_TE;
    gradient.bias += drouting.logits_TE.sum();
    ++tape.passes;
  }
};

/// The same, with an executor: it counts.
struct Parallel : Plain {
  template <class Exec>
  void forward(const Batch<double>& batch, Routing<double>& routing, Tape& tape, Random* random,
               const Exec& executor) const {
    executor.parallel_for(1, [&](Index) { Plain::forward(batch, routing, tape, random); });
  }
  template <class Exec>
  void backward(const Batch<double>& batch, const Routing<double>& routing, const Routing<double>& drouting, Tape& tape,
                MatrixRef<double> dx_TD, Parallel& gradient, const Exec& executor) const {
    executor.parallel_for(1, [&](Index) { Plain::backward(batch, routing, drouting, tape, dx_TD, gradient); });
  }
};

struct Counting {
  int* calls;
  template <class F>
  void parallel_for(Index count, F&& f) const {
    ++*calls;
    for (Index i = 0; i < count; ++i) f(i);
  }
};

struct NoTape {};

template <class R>
struct Pass {
  LayerTape<double, typename R::Tape, NoTape> tape;
  Batch<double> batch{x_TD};
  Random random{1};
  int calls = 0;

  Pass() { tape.begin(batch, 2); }
  void forward() { detail::router_forward(R{}, batch, tape, &random, Counting{&calls}); }
  Matrix<double> backward(R& gradient) {
    tape.drouting.reset_gradient(tape.routing);
    tape.drouting.logits_TE.setConstant(0.5);
    Matrix<double> dx_TD = x_TD;
    detail::router_backward<double>(R{}, batch, tape, dx_TD, gradient, Counting{&calls});
    return dx_TD;
  }
};

template <class R>
void expect_both_passes(int calls_of_each) {
  Pass<R> pass;
  pass.forward();
  EXPECT_EQ(pass.tape.routing.logits_TE, x_TD);
  EXPECT_EQ(pass.tape.router.passes, 1);
  EXPECT_EQ(pass.tape.router.random, &pass.random);
  EXPECT_EQ(pass.calls, calls_of_each);
  R gradient{};
  EXPECT_EQ(pass.backward(gradient), Matrix<double>(x_TD.array() + 0.5));
  EXPECT_EQ(gradient.bias, 3);
  EXPECT_EQ(pass.tape.router.passes, 2);
  EXPECT_EQ(pass.calls, 2 * calls_of_each);
}

TEST(LayerRouting, ARouterWithoutAnExecutorIsCalledWithoutOne) { expect_both_passes<Plain>(0); }

TEST(LayerRouting, ARouterThatTakesAnExecutorGetsTheLayers) { expect_both_passes<Parallel>(1); }

/// Adds the weights' gradients to the logits' of expert 0.
struct FreeGate {
  void backward(const Routing<double>&, Routing<double>& drouting) const { drouting.logits_TE.col(0).array() += 1; }
};

/// The same, with a parameter, and a path to the tokens.
struct LearnedGate {
  double parameter = 0;
  void backward(const Batch<double>& batch, const Routing<double>&, Routing<double>& drouting, MatrixRef<double> dx_TD,
                LearnedGate& gradient) const {
    drouting.logits_TE.col(0).array() += 1;
    dx_TD += batch.x_TD;
    gradient.parameter += 2;
  }
};

TEST(LayerRouting, GatesWithAndWithoutParametersAddToTheLogitsGradients) {
  Pass<Plain> pass;
  pass.forward();
  pass.tape.drouting.reset_gradient(pass.tape.routing);
  Matrix<double> dx_TD = x_TD;
  FreeGate none;
  detail::gate_backward<double>(FreeGate{}, pass.batch, pass.tape, dx_TD, none);
  EXPECT_EQ(pass.tape.drouting.logits_TE, (Matrix<double>{{1, 0}, {1, 0}, {1, 0}}));
  EXPECT_EQ(dx_TD, x_TD);
  LearnedGate gradient;
  detail::gate_backward<double>(LearnedGate{}, pass.batch, pass.tape, dx_TD, gradient);
  EXPECT_EQ(pass.tape.drouting.logits_TE, (Matrix<double>{{2, 0}, {2, 0}, {2, 0}}));
  EXPECT_EQ(dx_TD, Matrix<double>(2 * x_TD));
  EXPECT_EQ(gradient.parameter, 2);
}

/// A gate that sends every token to expert 0, and writes the probabilities of all tokens or of all but the last.
struct Forgetful {
  bool forgets = true;
  void route(const Batch<double>&, Routing<double>& routing, Random*) const {
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (!routing.is_valid(t)) continue;
      if (!forgets || t + 1 < routing.tokens()) routing.set_probabilities(t);
      routing.choices.push_back({t, 0, 1});
    }
  }
};

TEST(LayerRouting, AGateThatLeavesProbabilitiesUnwrittenIsRefused) {
  Pass<Plain> pass;
  pass.forward();
  EXPECT_NO_THROW(detail::gate_forward(Forgetful{.forgets = false}, pass.batch, pass.tape.routing, nullptr));
  support::expect_invalid([&] { detail::gate_forward(Forgetful{}, pass.batch, pass.tape.routing, nullptr); },
                          {"the gate left the probabilities of token 2 unwritten", "set_probabilities()"});
}

TEST(LayerRouting, ProbabilitiesOfPaddingAndThoseThatAreNotNumbersMayStand) {
  Pass<Plain> pass;
  const std::vector<std::uint8_t> valid{1, 1, 0};
  pass.batch.valid = valid;
  pass.tape.begin(pass.batch, 2);
  pass.forward();
  EXPECT_NO_THROW(detail::gate_forward(Forgetful{}, pass.batch, pass.tape.routing, nullptr));
  pass.tape.routing.logits_TE.setConstant(support::nan_of<double>);
  EXPECT_NO_THROW(detail::gate_forward(Forgetful{}, pass.batch, pass.tape.routing, nullptr));
}

}  // namespace run_routing_test
}  // namespace moe
