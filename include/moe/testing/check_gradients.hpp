// Verify the gradients of your own expert, gate or loss with one call: the backward pass against differences of the
// forward pass, entry by entry, in double. The usual slips are named: dx that is added to, a gradient that is written
// over, a parameter that visit_parameters forgets (it is seen by its gradient, in a place that no visitor reaches; one
// that has no gradient either cannot be told from a constant).
#pragma once

#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/properties.hpp"
#include "moe/routing/batch.hpp"
#include "moe/testing/check_tensor.hpp"
#include "moe/testing/gradient_faults.hpp"
#include "moe/testing/gradient_report.hpp"
#include "moe/testing/routing_faults.hpp"
#include "moe/testing/stage_faults.hpp"

MOE_NAMESPACE_BEGIN

namespace testing {

/// The whole check of a model whose `backward(dx_start, gradient_start)` is a BackwardPass of its present values,
/// `output(model)` its forward pass, and `loss()` what is differentiated.
template <class Model, class S, class Backward, class Output, class Loss>
GradientReport check_model(Model& model, Matrix<S>& x, Backward&& backward, Output&& output, Loss&& loss,
                           const GradientOptions& options) {
  GradientReport report;
  const S not_written = std::numeric_limits<S>::quiet_NaN();
  auto pass = backward(not_written, S(1));  // it must write over dx, and add to the gradient
  const auto from_0 = backward(S(0), S(0));
  if (!pass.dx.allFinite()) name_input_fault(from_0.dx, backward(S(1), S(0)).dx, report);
  name_gradient_faults(from_0.gradient, pass.gradient, report);
  name_forgotten_parameter(model, pass.gradient, output, report);
  name_repeated_parameters(model, report);
  fill(pass.gradient, S(-1));
  check_tensor("x", x.data(), pass.dx.data(), x.size(), loss, options, report);
  check_parameters(model, pass.gradient, loss, options, report);
  return report;
}

/// Every parameter of an expert, and its input x (n, D), for a random upstream gradient; an expert with stages also
/// runs by parts of 16 columns, so take widths of more than 16:
///   EXPECT_TRUE(moe::testing::check_gradients(my_expert, x));
template <class X, class Derived>
GradientReport check_gradients(const X& expert, const Eigen::MatrixBase<Derived>& x_ND, GradientOptions options = {}) {
  using S = typename Derived::Scalar;
  static_assert(
      TrainableExpert<X, S>,
      "moe::testing::check_gradients: the expert cannot be trained: it needs Tape, forward(x, y, tape) const, "
      "backward(x, dy, tape, dx, gradient) const and visit_parameters; see moe/concepts.hpp");
  static_assert(std::is_same_v<S, double>, "moe::testing::check_gradients: differences need double; use X<double>");
  X model = expert;
  Matrix<S> x = x_ND, dy(x.rows(), detail::output_width(expert, x.cols()));
  std::mt19937_64 rng(options.seed);
  detail::fill_normal(rng, 1, dy);
  const auto new_tape = [&] {
    typename X::Tape tape;
    if constexpr (requires { tape.random.emplace(std::uint64_t{}); })
      if (options.tape_seed) tape.random.emplace(*options.tape_seed);
    return tape;
  };
  const auto forward = [&](const X& any, typename X::Tape& tape) {
    Matrix<S> y(dy.rows(), dy.cols());
    any.forward(x, y, tape);
    return y;
  };
  const auto output = [&](const X& any) {
    auto tape = new_tape();
    return forward(any, tape);
  };
  const auto backward = [&](S dx_start, S gradient_start) {
    BackwardPass<X, S> pass{Matrix<S>::Constant(x.rows(), x.cols(), dx_start), zeros_like(model)};
    fill(pass.gradient, gradient_start);
    auto tape = new_tape();
    forward(model, tape);
    model.backward(x, dy, tape, pass.dx, pass.gradient);
    return pass;
  };
  GradientReport report = check_model(
      model, x, backward, output, [&] { return output(model).cwiseProduct(dy).sum(); }, options);
  if constexpr (StagedExpert<X, S>) name_stage_faults(expert, x, dy, new_tape, report);
  return report;
}

/// The same for a layer, and with it for its router, gate and losses: the auxiliary losses are part of what is
/// differentiated. With options.tape_seed every pass draws the same noise. A loss, gate or router that writes over what
/// another one may have written is named, too.
template <class SomeLayer>
GradientReport check_layer_gradients(const SomeLayer& layer, const Batch<typename SomeLayer::Scalar>& batch,
                                     GradientOptions options = {}) {
  using S = typename SomeLayer::Scalar;
  using Tape = typename SomeLayer::Tape;
  static_assert(std::is_same_v<S, double>, "moe::testing::check_layer_gradients: differences need a layer in double");
  SomeLayer model = layer;
  Matrix<S> x = batch.x_TD;
  Batch<S> moved = x;  // the same tokens, where they can be changed
  moved.ids = batch.ids, moved.valid = batch.valid, moved.group_size = batch.group_size;
  const auto new_tape = [&] { return options.tape_seed ? Tape(*options.tape_seed) : Tape(); };
  const auto output = [&](const SomeLayer& any) {
    Tape tape = new_tape();
    return any.forward(moved, tape);
  };
  Matrix<S> dy = output(model);
  std::mt19937_64 rng(options.seed);
  detail::fill_normal(rng, 1, dy);
  const auto loss = [&] {
    Tape tape = new_tape();
    const Matrix<S> y = model.forward(moved, tape);
    return y.cwiseProduct(dy).sum() + tape.loss_scale * model.auxiliary_loss(tape);
  };
  const auto backward = [&](S, S gradient_start) {  // dx is the layer's own
    BackwardPass<SomeLayer, S> pass{{}, zeros_like(model)};
    fill(pass.gradient, gradient_start);
    Tape tape = new_tape();
    model.forward(moved, tape);
    pass.dx = model.backward(moved, dy, tape, pass.gradient);
    return pass;
  };
  GradientReport report = check_model(model, x, backward, output, loss, options);
  Tape tape = new_tape();
  model.forward(moved, tape);
  name_routing_faults(model, moved, tape, report);
  return report;
}

}  // namespace testing

MOE_NAMESPACE_END
