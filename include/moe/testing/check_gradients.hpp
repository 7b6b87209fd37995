// Verify the gradients of your own expert, gate or loss with one call: the backward pass against differences of the
// forward pass, entry by entry, in double. The usual slips are named: dx that is added to, a gradient that is written
// over, a parameter that visit_parameters forgets. Such a one is seen by its gradient, in a place that no visitor
// reaches; one that has no gradient either cannot be told from a constant.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/properties.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"

MOE_NAMESPACE_BEGIN

namespace testing {

struct GradientOptions {
  double tolerance =
      1e-6;             ///< Of the error of a tensor, relative to its largest gradient (or 1e-4, if that is larger).
  double step = 1e-4;   ///< Relative to max(1, |value|); a tenth of it where the function bends too much for that.
  Index entries = 400;  ///< Of each tensor, at most; of larger ones so many are drawn.
  double kink_share = 0.2;  ///< Of a tensor's entries; if more are next to a kink, nothing was shown: the check fails.
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
  Index tensors = 0;                  ///< That they are of: parameters, and the input.
  Index kinks = 0;                    ///< Entries left out, since the function has a kink or a jump there.
  bool passed = true;
  bool differ = false;                   ///< A tensor's error is more than the tolerance.
  std::vector<std::string> faults = {};  ///< In words, where it is known what is wrong.

  explicit operator bool() const { return passed; }

  void add_fault(std::string fault) {
    passed = false;
    faults.push_back(std::move(fault));
  }

  friend std::ostream& operator<<(std::ostream& out, const GradientReport& report) {
    out << (report.passed   ? "gradients agree"
            : report.differ ? "GRADIENTS DIFFER"
                            : "GRADIENTS NOT SHOWN TO AGREE")
        << ": " << report.checked << " entries of " << report.tensors << " tensors, worst relative error "
        << report.worst << " at " << report.where << " (computed " << report.computed << ", expected "
        << report.expected << "), " << report.kinks << " next to kinks";
    for (const std::string& fault : report.faults) out << "; " << fault;
    return out;
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
  report.tensors += count > 0 ? 1 : 0;
  double worst = 0, scale = 1e-4, worst_computed = 0, worst_expected = 0;
  Index worst_entry = -1, kinks = 0;
  for (Index i = 0; i < checks; ++i) {
    const Index entry = count <= options.entries ? i : detail::random_index(rng, count);
    const S value = values[entry];
    const auto at = [&](double offset) {
      values[entry] = static_cast<S>(static_cast<double>(value) + offset);
      return static_cast<double>(loss());
    };
    const double actual = static_cast<double>(computed[entry]);
    double expected = 0;
    const auto is_smooth = [&](double step) {
      const double one = (at(step) - at(-step)) / (2 * step), two = (at(2 * step) - at(-2 * step)) / (4 * step);
      values[entry] = value;
      expected = (4 * one - two) / 3;
      return !(std::abs(one - two) > 1e-4 * (std::max)(1.0, std::abs(expected)));
    };
    const double step = options.step * (std::max)(1.0, std::abs(static_cast<double>(value)));
    if (!is_smooth(step) && !is_smooth(step / 10)) {
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
  if (!(relative <= options.tolerance)) report.passed = false, report.differ = true;
  if (static_cast<double>(kinks) > options.kink_share * static_cast<double>(checks))
    report.add_fault(std::to_string(kinks) + " of " + std::to_string(checks) + " entries of '" + std::string(name) +
                     "' are next to kinks or jumps, which is too large a share: take other inputs or a smaller step");
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

/// What a backward pass left, in dx and a gradient that held something before.
template <class Model, class S>
struct BackwardPass {
  Matrix<S> dx;
  Model gradient;
};

/// Says in words what is wrong with dx: `from_0` and `from_1` are of passes into dx of these values.
template <class S>
void name_input_fault(const Matrix<S>& from_0, const Matrix<S>& from_1, GradientReport& report) {
  Index kept = 0, added = 0;
  for (Index i = 0; i < from_0.size(); ++i) {
    if (!(std::abs(from_1.data()[i] - from_0.data()[i] - 1) < 1e-6)) continue;
    ++(from_0.data()[i] == 0 && from_1.data()[i] == 1 ? kept : added);
  }
  if (added > 0)
    report.add_fault("backward adds to dx, which it must write (dx =, not dx +=)");
  else if (kept > 0)
    report.add_fault("backward leaves " + std::to_string(kept) + " entries of dx unwritten");
}

/// The same of the gradients, which held 0 and 1 before.
template <class Model>
void name_gradient_faults(const Model& from_0, const Model& from_1, GradientReport& report) {
  for_each_parameter(
      [&](std::string_view name, const auto& of_0, const auto& of_1) {
        bool same = of_0.size() > 0;
        for (Index i = 0; i < of_0.size(); ++i) same = same && of_0.data()[i] == of_1.data()[i];
        if (same)
          report.add_fault("backward writes over the gradient of '" + std::string(name) +
                           "', to which it must add (+=, not =)");
      },
      from_0, from_1);
}

/// A gradient with the model's parameters in it is the model, unless backward has changed what no visitor reaches.
/// `output(model)` is the forward pass.
template <class Model, class Output>
void name_forgotten_parameter(const Model& model, Model gradient, Output&& output, GradientReport& report) {
  for_each_parameter([](std::string_view, auto& to, const auto& from) { to.array() = from.array(); }, gradient, model);
  const auto expected = output(model), actual = output(gradient);
  for (Index i = 0; i < expected.size(); ++i)
    if (detail::has_finite_bits(expected.data()[i]) && expected.data()[i] != actual.data()[i])
      return report.add_fault(
          "backward changes a part of the gradient that visit_parameters does not name: it forgets "
          "a parameter");
}

/// Parameters named twice are stepped twice, or lost in files.
template <class Model>
void name_repeated_parameters(const Model& model, GradientReport& report) {
  std::set<const void*> places;
  std::set<std::string, std::less<>> names;
  for_each_parameter(
      [&](std::string_view name, const auto& parameter) {
        const bool is_new = names.emplace(name).second;
        if (!(parameter.size() == 0 || places.insert(parameter.data()).second) || !is_new)
          report.add_fault("visit_parameters names '" + std::string(name) + "' or its values twice");
      },
      model);
}

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
  Matrix<S> x = x_ND, dy(x.rows(), detail::output_width(expert, x.cols()));
  std::mt19937_64 rng(options.seed);
  detail::fill_normal(rng, 1, dy);
  const auto forward = [&](const X& any, typename X::Tape& tape) {
    if constexpr (requires { tape.random.emplace(std::uint64_t{}); })
      if (options.tape_seed) tape.random.emplace(*options.tape_seed);
    Matrix<S> y(dy.rows(), dy.cols());
    any.forward(x, y, tape);
    return y;
  };
  const auto output = [&](const X& any) {
    typename X::Tape tape;
    return forward(any, tape);
  };
  const auto backward = [&](S dx_start, S gradient_start) {
    BackwardPass<X, S> pass{Matrix<S>::Constant(x.rows(), x.cols(), dx_start), zeros_like(model)};
    fill(pass.gradient, gradient_start);
    typename X::Tape tape;
    forward(model, tape);
    model.backward(x, dy, tape, pass.dx, pass.gradient);
    return pass;
  };
  return check_model(
      model, x, backward, output, [&] { return output(model).cwiseProduct(dy).sum(); }, options);
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
  return check_model(model, x, backward, output, loss, options);
}

}  // namespace testing

MOE_NAMESPACE_END
