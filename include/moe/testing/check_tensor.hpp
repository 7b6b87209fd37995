// A computed gradient against differences of the function, entry by entry.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <string_view>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/testing/gradient_report.hpp"

MOE_NAMESPACE_BEGIN

namespace testing {

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

}  // namespace testing

MOE_NAMESPACE_END
