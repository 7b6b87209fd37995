// Balance without an auxiliary loss: after a step, the selection bias moves towards the experts that got too little.
// Its sibling without a step size is in quantile_balance.hpp.
#pragma once

#include <cstddef>
#include <utility>

#include "moe/core/core.hpp"
#include "moe/routing/load.hpp"

MOE_NAMESPACE_BEGIN

struct BiasUpdateOptions {
  double rate = 1e-3;
  bool centered = false;  ///< The step's mean is taken off, so that the biases do not drift (torchtitan).
};

/// b_e += rate * sign(mean count - count_e), sign(0) = 0 (Wang et al. 2024, arXiv 2408.15664, algorithm 1; DeepSeek-V3,
/// Megatron-Core). Counting is the caller's: pass the load of the training pass, or sum_of several, of a
/// step's micro-batches; padding is never in it. Throws std::invalid_argument if the sizes differ.
inline void update_bias(Vector<double>& selection_bias_E, const Load& load, BiasUpdateOptions options = {}) {
  const auto experts = static_cast<Index>(load.chosen.size());
  require(selection_bias_E.size() == 0 || selection_bias_E.size() == experts, "update_bias: ", selection_bias_E.size(),
          " biases for ", experts, " experts");
  double total = 0;
  for (const Index count : load.chosen) total += static_cast<double>(count);
  const double mean = total / static_cast<double>(experts);
  Vector<double> step(experts);
  for (Index e = 0; e < experts; ++e) {
    const auto count = static_cast<double>(load.chosen[static_cast<std::size_t>(e)]);
    step(e) = options.rate * (count < mean ? 1.0 : count > mean ? -1.0 : 0.0);
  }
  const double shift = options.centered ? step.mean() : 0;
  for (double& entry : step) entry -= shift;
  if (selection_bias_E.size() == 0)
    selection_bias_E = std::move(step);
  else
    selection_bias_E += step;
}

MOE_NAMESPACE_END
