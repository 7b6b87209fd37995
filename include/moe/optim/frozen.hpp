// Which parameters an optimiser leaves alone.
#pragma once

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// So many entries of a parameter, in memory order.
template <class Parameter>
auto run_of(Parameter& parameter, Index begin, Index count) {
  using S = typename std::remove_cvref_t<Parameter>::Scalar;
  using Run = Eigen::Array<S, Eigen::Dynamic, 1>;
  return Eigen::Map<std::conditional_t<std::is_const_v<Parameter>, const Run, Run>>(parameter.data() + begin, count);
}

/// A row is a run of entries: not of Weights, whose rows lie in panels.
template <class Parameter>
constexpr bool has_rows_as_runs() {
  if constexpr (requires { Parameter::IsRowMajor; })
    return Parameter::IsRowMajor || Parameter::ColsAtCompileTime == 1;
  else
    return false;
}

}  // namespace detail

/// Parts, parameters and rows by name: "experts" freezes all experts, "experts.3" one, "router.weight" one parameter,
/// "router.weight.3" and "router.bias.3" what the router knows of expert 3 (expert_parameters in
/// moe/surgery/expert_parameters.hpp lists all that is an expert's). The names are those that for_each_parameter tells.
/// Frozen parameters, and their moments, keep their bits. Thawed is what the next value of this type does not name.
class Frozen {
 public:
  Frozen() = default;
  Frozen(std::initializer_list<std::string> names) : names_(names) {}
  explicit Frozen(std::vector<std::string> names) : names_(std::move(names)) {}

  /// Everything is frozen but what is named: fine-tuning the experts only is Frozen::all_but({"experts"}).
  static Frozen all_but(std::vector<std::string> names) {
    Frozen frozen(std::move(names));
    frozen.all_but_ = true;
    return frozen;
  }

  /// Whether the whole parameter is frozen.
  bool contains(std::string_view parameter) const {
    return all_but_ ? !is_named(parameter) && !names_rows_of(parameter) : is_named(parameter);
  }

  /// Calls f(begin, count) for the runs of entries of the parameter, in memory order, that are trained.
  template <class Parameter, class F>
  void for_each_trained_run(std::string_view name, const Parameter& parameter, F&& f) const {
    if (contains(name)) return;
    if (is_named(name) || !names_rows_of(name)) return f(Index{0}, static_cast<Index>(parameter.size()));
    const Index rows = parameter.rows(), width = parameter.cols();
    for (Index begin = 0, end = 0; begin < rows; begin = end + 1) {
      for (end = begin; end < rows && names_row(name, end) == all_but_;) ++end;
      if (begin < end) f(begin * width, (end - begin) * width);
    }
  }

  /// Throws std::invalid_argument if a name is no part, parameter or row of the model: a misspelt name would freeze
  /// nothing.
  template <class Model>
  void check(const Model& model) const {
    for (const std::string& name : names_) {
      bool found = false;
      for_each_parameter(
          [&](std::string_view path, const auto& parameter) {
            using Parameter = std::remove_cvref_t<decltype(parameter)>;
            const Index row = row_in(name, path);
            require(row < 0 || detail::has_rows_as_runs<Parameter>(), "Frozen: '", name, "' is a row of '", path,
                    "', which can only be frozen as a whole");
            found = found || detail::covers(name, path) || (row >= 0 && row < parameter.rows());
          },
          model);
      require(found, "Frozen: the model has no part, parameter or row named '", name,
              "'; experts have the numbers of the model as it is now, also after surgery");
    }
  }

 private:
  /// i for the name "parameter.i", else -1.
  static Index row_in(std::string_view name, std::string_view parameter) {
    if (!detail::covers(parameter, name) || name.size() < parameter.size() + 2) return -1;
    Index row = -1;
    const auto [end, error] = std::from_chars(name.data() + parameter.size() + 1, name.data() + name.size(), row);
    return error == std::errc() && end == name.data() + name.size() ? row : -1;
  }

  bool is_named(std::string_view parameter) const {
    return std::any_of(names_.begin(), names_.end(), [&](const auto& name) { return detail::covers(name, parameter); });
  }
  bool names_rows_of(std::string_view parameter) const {
    return std::any_of(names_.begin(), names_.end(), [&](const auto& name) { return row_in(name, parameter) >= 0; });
  }
  bool names_row(std::string_view parameter, Index row) const {
    return std::any_of(names_.begin(), names_.end(), [&](const auto& name) { return row_in(name, parameter) == row; });
  }

  std::vector<std::string> names_;
  bool all_but_ = false;
};

MOE_NAMESPACE_END
