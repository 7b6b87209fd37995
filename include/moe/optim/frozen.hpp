// Which parameters an optimiser leaves alone.
#pragma once

#include <charconv>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/function_ref.hpp"
#include "moe/core/parameter_view.hpp"
#include "moe/core/parameters.hpp"

MOE_NAMESPACE_BEGIN

/// Parts, parameters and rows by name: "experts" freezes all experts, "experts.3" one, "router.weight" one parameter,
/// "router.weight.3" and "router.bias.3" what the router knows of expert 3 (expert_parameters in
/// moe/surgery/expert_parameters.hpp lists all that is an expert's). `*` stands for any characters in the name of a
/// part or parameter: "*.b1" freezes the first bias of every expert. The names are those that for_each_parameter tells.
/// Frozen parameters, and their moments, keep their bits; moments that a step packs into bfloat16 are rounded once. To
/// thaw, assign a new Frozen.
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
    visit_trained_runs(name, detail::view_of(parameter), f);
  }

  /// The same of a view.
  void visit_trained_runs(std::string_view name, const detail::ParameterView& parameter,
                          detail::FunctionRef<void(Index, Index)> f) const {
    if (contains(name)) return;
    if (is_named(name) || !names_rows_of(name)) return f(Index{0}, parameter.size());
    for (Index begin = 0, end = 0; begin < parameter.rows; begin = end + 1) {
      for (end = begin; end < parameter.rows && names_row(name, end) == all_but_;) ++end;
      if (begin < end) f(begin * parameter.cols, (end - begin) * parameter.cols);
    }
  }

  /// Throws std::invalid_argument if a name is no part, parameter or row of the model: a misspelt name would freeze
  /// nothing.
  template <class Model>
  void check(Model&& model) const {
    if (names_.empty()) return;
    std::vector<bool> found(names_.size(), false);
    detail::for_each_view(
        [&](std::string_view path, const detail::ParameterView* parameter) { find_names_of(path, *parameter, found); },
        model);
    for (std::size_t i = 0; i < names_.size(); ++i)
      require(
          found[i], "Frozen: the model has no part, parameter or row named '", names_[i],
          "'; moe::summary lists the names; experts have the numbers of the model as it is now, also after surgery");
  }

 private:
  /// i for the name "parameter.i", else -1.
  static Index row_in(std::string_view name, std::string_view parameter) {
    if (!detail::covers(parameter, name) || name.size() < parameter.size() + 2) return -1;
    Index row = -1;
    const auto [end, error] = std::from_chars(name.data() + parameter.size() + 1, name.data() + name.size(), row);
    return error == std::errc() && end == name.data() + name.size() ? row : -1;
  }

  /// Which of the names are those of this parameter, or of a row of it.
  void find_names_of(std::string_view path, const detail::ParameterView& parameter, std::vector<bool>& found) const {
    for (std::size_t i = 0; i < names_.size(); ++i) {
      const Index row = row_in(names_[i], path);
      require(row < 0 || parameter.has_rows_as_runs, "Frozen: '", names_[i], "' is a row of '", path,
              "', which can only be frozen as a whole");
      if (detail::covers(names_[i], path) || (row >= 0 && row < parameter.rows)) found[i] = true;
    }
  }

  bool is_named(std::string_view parameter) const {
    for (const std::string& name : names_)
      if (detail::covers(name, parameter)) return true;
    return false;
  }
  bool names_rows_of(std::string_view parameter) const {
    for (const std::string& name : names_)
      if (row_in(name, parameter) >= 0) return true;
    return false;
  }
  bool names_row(std::string_view parameter, Index row) const {
    for (const std::string& name : names_)
      if (row_in(name, parameter) == row) return true;
    return false;
  }

  std::vector<std::string> names_;
  bool all_but_ = false;
};

MOE_NAMESPACE_END
