// Parameters that learn at another rate, or decay less, than the others.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameter_view.hpp"
#include "moe/core/parameters.hpp"

MOE_NAMESPACE_BEGIN

/// What the optimiser's options are multiplied by.
struct GroupFactors {
  double learning_rate = 1, weight_decay = 1;
};

/// Stands for all parameters of one column: biases, and the scales of norms.
struct AllVectors {};
inline constexpr AllVectors all_vectors;

/// A part or parameter by name, as in Frozen: `*` stands for any characters.
struct ParameterGroup {
  std::string name;
  GroupFactors factors;
  bool vectors = false;  ///< All vectors; there is no name.

  ParameterGroup(std::string name_, GroupFactors factors_) : name(std::move(name_)), factors(factors_) {}
  ParameterGroup(AllVectors, GroupFactors factors_) : factors(factors_), vectors(true) {}
};

/// An optimiser's groups. Weight decay for matrices alone, and a slower router:
///   adam.groups = {{moe::all_vectors, {.weight_decay = 0}}, {"*router", {.learning_rate = 0.1}}};
/// The factors of all groups that a parameter belongs to are multiplied.
class ParameterGroups {
 public:
  ParameterGroups() = default;
  ParameterGroups(std::initializer_list<ParameterGroup> groups) : groups_(groups) {}
  explicit ParameterGroups(std::vector<ParameterGroup> groups) : groups_(std::move(groups)) {}

  GroupFactors factors_of(std::string_view name, const detail::ParameterView& parameter) const {
    GroupFactors product;
    for (const ParameterGroup& group : groups_)
      if (has(group, name, parameter)) {
        product.learning_rate *= group.factors.learning_rate;
        product.weight_decay *= group.factors.weight_decay;
      }
    return product;
  }

  /// Throws std::invalid_argument if a factor is not finite or less than 0, the factors of a parameter come to more
  /// than 1e6, or a name is no part or parameter of the model.
  template <class Model>
  void check(Model&& model) const {
    if (groups_.empty()) return;
    for (const ParameterGroup& group : groups_) {
      check_factor(group, "learning_rate", group.factors.learning_rate);
      check_factor(group, "weight_decay", group.factors.weight_decay);
    }
    std::vector<bool> found(groups_.size(), false);
    detail::for_each_view(
        [&](std::string_view name, const detail::ParameterView* parameter) {
          for (std::size_t i = 0; i < groups_.size(); ++i)
            if (has(groups_[i], name, *parameter)) found[i] = true;
          const GroupFactors product = factors_of(name, *parameter);
          require(product.learning_rate <= most && product.weight_decay <= most, "ParameterGroups: the factors of '",
                  name, "' come to ", product.learning_rate, " and ", product.weight_decay, ", at most ", most,
                  " is accepted");
        },
        model);
    for (std::size_t i = 0; i < groups_.size(); ++i)
      require(
          found[i] || groups_[i].vectors, "ParameterGroups: the model has no part or parameter named '",
          groups_[i].name,
          "'; moe::summary lists the names; experts have the numbers of the model as it is now, also after surgery");
  }

 private:
  static constexpr double most = 1e6;

  static bool has(const ParameterGroup& group, std::string_view name, const detail::ParameterView& parameter) {
    return group.vectors ? parameter.is_vector : detail::covers(group.name, name);
  }
  static void check_factor(const ParameterGroup& group, std::string_view what, double factor) {
    require(detail::has_finite_bits(factor) && factor >= 0, "ParameterGroups: the ", what, " of ",
            group.vectors ? std::string_view("all_vectors") : std::string_view(group.name), " is ", factor,
            ", it must be finite and 0 or more");
  }

  std::vector<ParameterGroup> groups_;
};

MOE_NAMESPACE_END
