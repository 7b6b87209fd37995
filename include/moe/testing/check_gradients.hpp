// Verify the gradients of your own expert, gate or loss with one call: the backward pass against differences of the
// forward pass, entry by entry, in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>

#include "moe/batch.hpp"
#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/parameters.hpp"
#include "moe/random.hpp"

MOE_NAMESPACE_BEGIN

namespace testing {

struct GradientOptions {
  double tolerance =
      1e-6;             ///< Of the error of a tensor, relative to its largest gradient (or 1e-4, if that is larger).
  double step = 1e-4;   ///< Relative to max(1, |value|).
  Index entries = 400;  ///< Of each tensor, at most; of larger ones so many are drawn.
  double kink_share = 0.2;  ///< More entries than this share next to a kink: nothing was shown, the check fails.
  std::uint64_t seed = 1;   ///< Of the upstream gradient and the drawn entries.
  std::optional<std::uint64_t> tape_seed = {};  ///< Of the tape of a layer, or of an expert that draws; none: an
                                                ///< evaluation pass.
};

/// What check_gradients found; true if every tensor passed. Print it to see the worst entry.
struct GradientReport {
  double worst = 0;  ///< Largest relative error of a tensor.
  std::string where = "nothing";
  double computed = 0, expected = 0;  ///< There: by the backward pass, and by differences.
  Index checked = 0;                  ///< Entries compared.
  Index kinks = 0;                    ///< Entries left out, since the function has a kink or a jump there.
  bool passed = true;

  explicit operator bool() const { return passed; }

  friend std::ostream& operator<<(std::ostream& out, const GradientReport& report) {
    return out << (report.passed ? "gradients agree" : "GRADIENTS DIFFER") << ": " << report.checked
               << " entries, worst relative error " << report.worst << " at " << report.where << " (computed "
               << report.computed << ", expected " << report.expected << "), " << report.kinks << " next to kinks";
  }
};

/// Compares `gradient` (n entries at `computed`) with differences of `loss()` under changes of the n entries at
/// `values`, which are as before afterwards. By the four-point central difference, whose error is of order step^4;
/// where it disagrees with the two-point one, the function is not smooth and the entry is left out.
template <class S, class Loss>
void check_tensor(std::string_view name, S* values, const S* computed, Index count, Loss&& loss,
                  const GradientOptions& options, GradientReport& report) {
  std::mt19937_64 rng(options.seed);
  const Index checks = (std::min)(count, options.entries);
  double worst = 0, scale = 1e-4, worst_computed = 0, worst_expected = 0;
  Index worst_entry = -1, kinks = 0;
  for (Index i = 0; i < checks; ++i) {
    const Index entry = count <= options.entries ? i : detail::random_index(rng, count);
    const S value = values[entry];
    const double step = options.step * (std::max)(1.0, std::abs(static_cast<double>(value)));
    const auto at = [&](double offset) {
      values[entry] = static_cast<S>(static_cast<double>(value) + offset);
      return static_cast<double>(loss());
    };
    const double one = (at(step) - at(-step)) / (2 * step), two = (at(2 * step) - at(-2 * step)) / (4 * step);
    values[entry] = value;
    const double expected = (4 * one - two) / 3, actual = static_cast<double>(computed[entry]);
    if (std::abs(one - two) > 1e-4 * (std::max)(1.0, std::abs(expected))) {
      ++kinks;
      continue;
    }
    ++report.checked;
    const double difference = std::abs(expected - actual);
    const bool finite = detail::has_finite_bits(difference);
    if (finite) scale = (std::max)({scale, std::abs(expected), std::abs(actual)});
    const double error = finite ? difference : std::numeric_limits<double>::infinity();
    if (error > worst) {
      worst = error, worst_entry = entry, worst_computed = actual, worst_expected = expected;
    }
  }
  report.kinks += kinks;
  const double relative = worst / scale;
  if (!(relative <= options.tolerance) || static_cast<double>(kinks) > options.kink_share * static_cast<double>(checks))
    report.passed = false;
  if (worst_entry >= 0 && !(relative <= report.worst)) {
    report.worst = relative, report.computed = worst_computed, report.expected = worst_expected;
    report.where = std::string(name) + "[" + std::to_string(worst_entry) + "]";
  }
}

/// check_tensor for each parameter of `model`, whose computed gradient is `gradient`.
template <class Model, class Loss>
void check_parameters(Model& model, const Model& gradient, Loss&& loss, const GradientOptions& options,
                      GradientReport& report) {
  for_each_parameter(
      [&](std::string_view name, auto& parameter, const auto& computed) {
        check_tensor(name, parameter.data(), computed.data(), parameter.size(), loss, options, report);
      },
      model, gradient);
}

/// Adds `value` to every entry of a gradient.
template <class Model, class S>
void fill(Model& gradient, S value) {
  for_each_parameter([&](std::string_view, auto& parameter) { parameter.array() += value; }, gradient);
}

/// Every parameter of an expert, and its input x (n, D), for a random upstream gradient:
///   EXPECT_TRUE(moe::testing::check_gradients(my_expert, x));
template <class X, class Derived>
GradientReport check_gradients(const X& expert, const Eigen::MatrixBase<Derived>& x_ND, GradientOptions options = {}) {
  using S = typename Derived::Scalar;
  static_assert(TrainableExpert<X, S>,
                "moe::testing::check_gradients: X cannot be trained: it needs Tape, forward(x, y, tape) const, "
                "backward(x, dy, tape, dx, gradient) const and visit_parameters; see moe/concepts.hpp");
  static_assert(std::is_same_v<S, double>, "moe::testing::check_gradients: differences need double; use X<double>");
  X model = expert;
  Matrix<S> x = x_ND, y(x.rows(), detail::output_width(expert, x.cols())), dy(y.rows(), y.cols()),
            dx(x.rows(), x.cols());
  std::mt19937_64 rng(options.seed);
  detail::fill_normal(rng, 1, dy);
  const auto new_tape = [&] {
    typename X::Tape tape;
    if constexpr (requires { tape.random.emplace(std::uint64_t{}); })
      if (options.tape_seed) tape.random.emplace(*options.tape_seed);
    return tape;
  };
  const auto loss = [&] {
    auto tape = new_tape();
    model.forward(x, y, tape);
    return y.cwiseProduct(dy).sum();
  };
  auto tape = new_tape();
  X gradient = zeros_like(model);
  fill(gradient, S(1));  // backward must add to this, and write over dx
  dx.setConstant(std::numeric_limits<S>::quiet_NaN());
  model.forward(x, y, tape);
  model.backward(x, dy, tape, dx, gradient);
  fill(gradient, S(-1));

  GradientReport report;
  check_tensor("x", x.data(), dx.data(), x.size(), loss, options, report);
  check_parameters(model, gradient, loss, options, report);
  return report;
}

/// The same for a layer, and with it for its router, gate and losses: the auxiliary losses are part of what is
/// differentiated. With options.tape_seed every pass draws the same noise.
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
  Matrix<S> dy;
  const auto loss = [&] {
    Tape tape = new_tape();
    const Matrix<S> y = model.forward(moved, tape);
    return y.cwiseProduct(dy).sum() + tape.loss_scale * model.auxiliary_loss(tape);
  };
  Tape tape = new_tape();
  SomeLayer gradient = zeros_like(model);
  dy = model.forward(moved, tape);
  std::mt19937_64 rng(options.seed);
  detail::fill_normal(rng, 1, dy);
  fill(gradient, S(1));  // backward must add to this
  const Matrix<S> dx = model.backward(moved, dy, tape, gradient);
  fill(gradient, S(-1));

  GradientReport report;
  check_tensor("x", x.data(), dx.data(), x.size(), loss, options, report);
  check_parameters(model, gradient, loss, options, report);
  return report;
}

}  // namespace testing

MOE_NAMESPACE_END
