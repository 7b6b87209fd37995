// Which parameters an optimiser leaves alone.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "moe/core.hpp"
#include "moe/parameters.hpp"

MOE_NAMESPACE_BEGIN

/// Parts and parameters by name: "experts" freezes all experts, "experts.3" one, "router.weight" one parameter. The
/// names are those that for_each_parameter tells. Frozen parameters, and their moments, keep their bits.
class Frozen {
 public:
  Frozen() = default;
  Frozen(std::initializer_list<std::string> names) : names_(names) {}

  bool contains(std::string_view parameter) const {
    return std::any_of(names_.begin(), names_.end(), [&](const std::string& name) {
      return parameter.starts_with(name) && (parameter.size() == name.size() || parameter[name.size()] == '.');
    });
  }

  /// Throws std::invalid_argument if a name is no part of the model: a misspelt name would freeze nothing.
  template <class Model>
  void check(const Model& model) const {
    for (const std::string& name : names_) {
      bool found = false;
      for_each_parameter(
          [&](std::string_view parameter, const auto&) { found = found || Frozen{name}.contains(parameter); }, model);
      detail::require(found, "Frozen: the model has no part or parameter named '", name, "'");
    }
  }

 private:
  std::vector<std::string> names_;
};

MOE_NAMESPACE_END
