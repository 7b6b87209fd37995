// Noise on parameters, so that copies become different.
#pragma once

#include <cmath>
#include <functional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/surgery/writable_weights.hpp"

MOE_NAMESPACE_BEGIN

/// Adds normal noise to every parameter, its standard deviation `relative` times the root mean square of the tensor's
/// entries. Draws: the tensors in the order of the visitor, each in memory order, one normal an entry.
/// Throws std::invalid_argument unless relative is finite and 0 or more and all weights can be written; whatever is
/// thrown, also std::bad_alloc, the model is unchanged.
template <class Model, class Generator>
void add_noise(Model& model, double relative, Generator& generator) {
  require(detail::has_finite_bits(relative) && relative >= 0, "add_noise: relative is ", relative,
          ", it must be finite and 0 or more");
  detail::require_writable_weights("add_noise", model);
  std::vector<std::function<void()>> updates;  // made once all memory is there
  for_each_parameter(
      [&](std::string_view, auto& parameter) {
        using S = typename std::remove_cvref_t<decltype(parameter)>::Scalar;
        if (parameter.size() == 0) return;
        double squares = 0;  // in double: those of large floats are more than a float can hold
        for (Index i = 0; i < parameter.size(); ++i) {
          const auto entry = static_cast<double>(parameter.data()[i]);
          squares += entry * entry;
        }
        const double stddev = relative * std::sqrt(squares / static_cast<double>(parameter.size()));
        updates.emplace_back([&generator, stddev, values = parameter.data(), size = parameter.size()] {
          for (Index i = 0; i < size; ++i) values[i] += static_cast<S>(stddev * detail::random_normal(generator));
        });
      },
      model);
  for (const auto& update : updates) update();
}

MOE_NAMESPACE_END
