// The names of all parameters that belong to an expert, to freeze or to train them alone.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/layer/layer.hpp"
#include "moe/surgery/expert_rows.hpp"
#include "moe/surgery/expert_sources.hpp"

MOE_NAMESPACE_BEGIN

/// The experts' own parameters ("experts.3") and their rows in router and gate ("router.weight.3", "router.bias.3",
/// "gate.noise_weight.3"), each with `prefix` before it, the path of the layer in a larger model ("moe."). Newcomers
/// alone are trained with `adam.frozen = Frozen::all_but(expert_parameters(layer, {4, 5}))`.
/// Throws std::invalid_argument if an expert does not exist.
template <class R, class G, class X, class L>
std::vector<std::string> expert_parameters(const Layer<R, G, X, L>& layer, const std::vector<Index>& experts,
                                           std::string_view prefix = "") {
  const auto count = static_cast<Index>(layer.experts.size());
  std::vector<std::string> rows;  // of the parameters that grow with the number of experts
  const auto grown = [&](auto part) {
    using Part = decltype(part);
    ExpertSources sources = ExpertSources::all(count);
    sources.parents.push_back({{0}});
    detail::ExpertRows<Part>::rearrange(part, sources);
    return part;
  };
  const auto collect = [&](std::string_view part_name, const auto& part) {
    using Part = std::remove_cvref_t<decltype(part)>;
    if constexpr (detail::NamesParameters<Part>) {
      const Part larger = grown(part);
      Part::visit_parameters(
          [&](std::string_view name, const auto& before, const auto& after) {
            if (after.rows() > before.rows()) rows.push_back(std::string(part_name) + "." + std::string(name));
          },
          part, larger);
    }
  };
  collect("router", layer.router);
  collect("gate", layer.gate);
  std::vector<std::string> names;
  for (const Index e : experts) {
    require(e >= 0 && e < count, "expert_parameters: expert ", e, ", there are ", count);
    if (parameter_count(layer.experts[static_cast<std::size_t>(e)]) > 0)  // a name of nothing is refused by Frozen
      names.push_back(std::string(prefix) + "experts." + std::to_string(e));
    for (const std::string& row : rows) names.push_back(std::string(prefix) + row + "." + std::to_string(e));
  }
  return names;
}

MOE_NAMESPACE_END
