// Hash layers: the token's id decides, by a fixed table.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "moe/batch.hpp"
#include "moe/concepts.hpp"
#include "moe/core.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/random.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Token t goes to expert_of_id[batch.ids[t]] with weight 1 (Roller et al. 2021, section 3). Nothing is learned; use
/// NoRouter.
struct Hash {
  std::vector<Index> expert_of_id;

  /// Every id to an expert drawn uniformly (the paper's random hash).
  template <class Generator>
  static Hash random(Index ids, Index experts, Generator& generator) {
    detail::require(ids > 0 && experts > 0, "Hash::random: ", ids, " ids and ", experts,
                    " experts, both must be 1 or more");
    Hash hash;
    for (Index id = 0; id < ids; ++id) hash.expert_of_id.push_back(detail::random_index(generator, experts));
    return hash;
  }

  /// The paper's balanced hash: ids by falling frequency, each to the expert that has least so far; ties go to the
  /// lower id and the lower expert. Throws std::invalid_argument unless the frequencies are finite and 0 or more.
  static Hash balanced(const std::vector<double>& frequency_of_id, Index experts) {
    detail::require(!frequency_of_id.empty() && experts > 0, "Hash::balanced: ", frequency_of_id.size(), " ids and ",
                    experts, " experts, both must be 1 or more");
    for (std::size_t id = 0; id < frequency_of_id.size(); ++id)
      detail::require(detail::has_finite_bits(frequency_of_id[id]) && frequency_of_id[id] >= 0, "Hash::balanced: id ",
                      id, " has frequency ", frequency_of_id[id], ", it must be finite and 0 or more");
    std::vector<std::size_t> by_frequency(frequency_of_id.size());
    std::iota(by_frequency.begin(), by_frequency.end(), std::size_t{0});
    std::sort(by_frequency.begin(), by_frequency.end(), [&](std::size_t a, std::size_t b) {
      return frequency_of_id[a] != frequency_of_id[b] ? frequency_of_id[a] > frequency_of_id[b] : a < b;
    });
    std::vector<double> load(static_cast<std::size_t>(experts), 0);
    Hash hash{std::vector<Index>(frequency_of_id.size())};
    for (const std::size_t id : by_frequency) {
      const auto lightest = std::min_element(load.begin(), load.end());
      *lightest += frequency_of_id[id];
      hash.expert_of_id[id] = lightest - load.begin();
    }
    return hash;
  }

  void check(Index experts) const {
    detail::require(!expert_of_id.empty(), "Hash: the table is empty");
    const auto [lowest, highest] = std::minmax_element(expert_of_id.begin(), expert_of_id.end());
    detail::require(*lowest >= 0 && *highest < experts, "Hash: the table names experts ", *lowest, " to ", *highest,
                    ", there are ", experts);
  }

  /// Throws std::invalid_argument if the batch has no ids, or one that is not in the table.
  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    detail::require(!batch.ids.empty() || batch.tokens() == 0, "Hash: the batch has no ids; set Batch::ids");
    routing.probabilities_TE.setZero();
    routing.choices_per_token = 1;
    for (Index t = 0; t < batch.tokens(); ++t) {
      if (!routing.is_valid(t)) continue;
      const std::int64_t id = batch.ids[static_cast<std::size_t>(t)];
      detail::require(id >= 0 && std::cmp_less(id, expert_of_id.size()), "Hash: token ", t, " has id ", id,
                      ", the table has ", expert_of_id.size());
      const Index expert = expert_of_id[static_cast<std::size_t>(id)];
      routing.probabilities_TE(t, expert) = S(1);
      routing.choices.push_back({t, expert, S(1)});
    }
  }

  template <class S>
  void backward(const Routing<S>&, Routing<S>&) const {}  // the table is fixed
};

static_assert(TrainableGate<Hash, float>);

MOE_NAMESPACE_END
