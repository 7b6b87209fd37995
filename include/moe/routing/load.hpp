// Statistics of a plan: how evenly the experts are used. A pure function of the plan; nothing accumulates anywhere.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

struct Load {
  std::vector<Index> chosen;    ///< E: choices per expert, before dropping.
  std::vector<Index> received;  ///< E: rows per expert, after dropping.
  Index dropped = 0;            ///< Choices dropped: their expert was full.
  double dropped_share = 0;     ///< Of all choices; 0 if there are none.

  // Of `chosen`, since balance is a matter of the gate, not of the capacity; all 0 if nothing was chosen.
  double max_violation = 0;             ///< MaxVio = max / mean - 1 (arXiv 2408.15664): 0 is even, E - 1 all to one.
  double coefficient_of_variation = 0;  ///< Standard deviation (population) / mean: 0 is even, sqrt(E - 1) all to one.
  double entropy = 0;                   ///< In nats: ln E is even, 0 all to one.
};

namespace detail {

/// What follows from the counts.
inline void measure_balance(Load& load) {
  const auto experts = static_cast<double>(load.chosen.size());
  const auto total = static_cast<double>(std::accumulate(load.chosen.begin(), load.chosen.end(), Index{0}));
  if (total == 0) return;
  load.dropped_share = static_cast<double>(load.dropped) / total;
  const double mean = total / experts;
  double largest = 0, squares = 0;
  load.entropy = 0;
  for (const Index count : load.chosen) {
    const auto n = static_cast<double>(count);
    largest = (std::max)(largest, n);
    squares += (n - mean) * (n - mean);
    if (count > 0) load.entropy -= n / total * std::log(n / total);
  }
  load.max_violation = largest / mean - 1;
  load.coefficient_of_variation = std::sqrt(squares / experts) / mean;
}

}  // namespace detail

template <class S>
Load load_of(const Plan<S>& plan) {
  Load load;
  load.chosen = plan.chosen;
  for (Index e = 0; e < plan.experts(); ++e) load.received.push_back(plan.rows_of(e));
  load.dropped = static_cast<Index>(plan.dropped_choices.size());
  detail::measure_balance(load);
  return load;
}

/// The load of both together, of several layers or micro-batches, say. An empty one adds nothing. Throws
/// std::invalid_argument if the numbers of experts differ.
inline Load sum_of(const Load& a, const Load& b) {
  if (a.chosen.empty() || b.chosen.empty()) return a.chosen.empty() ? b : a;
  const std::size_t experts = a.chosen.size();
  for (const std::size_t other : {b.chosen.size(), a.received.size(), b.received.size()})
    require(other == experts, "sum_of: loads of ", experts, " and ", other, " experts");
  Load sum = a;
  for (std::size_t e = 0; e < b.chosen.size(); ++e) sum.chosen[e] += b.chosen[e], sum.received[e] += b.received[e];
  sum.dropped += b.dropped;
  detail::measure_balance(sum);
  return sum;
}

inline std::ostream& operator<<(std::ostream& out, const Load& load) {
  std::string counts;
  for (const Index count : load.received) counts += detail::joined(" ", count);
  return out << detail::joined_to(out.precision(), "tokens per expert", counts, "; dropped ", load.dropped, " (",
                                  100 * load.dropped_share, " %); MaxVio ", load.max_violation, ", CV ",
                                  load.coefficient_of_variation, ", entropy ", load.entropy, " of ",
                                  std::log(static_cast<double>((std::max)(load.chosen.size(), std::size_t{1}))));
}

MOE_NAMESPACE_END
