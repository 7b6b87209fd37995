// The usual slips of a backward pass, in words: dx that is added to, a gradient that is written over, a forgotten
// parameter.
#pragma once

#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/testing/gradient_report.hpp"

MOE_NAMESPACE_BEGIN

namespace testing {

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

}  // namespace testing

MOE_NAMESPACE_END
