// Hash layers: the token's id decides, by a fixed table.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/gating/hash_table.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Token t goes to expert tables[h][batch.ids[t]] for each of the H tables (Roller et al. 2021, section 3; several
/// tables are its multi-hash, without the cutting of weights). If two tables name one expert, it counts twice.
///
/// With uniform weights, 1 / H each, the output is the mean of the experts; nothing is learned, and NoRouter is enough.
/// With other weights the tables choose and the logits weigh. DeepSeek-V4's first layers have a table for each of their
/// k choices and `.weights = Scores::sqrt_softplus({.scale = ...})`.
struct Hash {
  std::vector<std::vector<Index>> tables;            ///< The expert of each id; all tables have the same length.
  ChoiceWeights weights = ChoiceWeights::uniform();  ///< uniform: 1 / H.

  Index most_choices(Index) const { return static_cast<Index>(tables.size()); }

  /// Noise has an effect only on weights that are made of logits.
  bool accepts_noise(bool weighs) const { return weighs && weights.reads_logits(); }

  /// The paper's random hash: every id to an expert drawn uniformly.
  template <class Generator>
  static Hash random(Index ids, Index experts, Generator& generator) {
    return {{detail::random_table(ids, experts, generator)}};
  }

  /// The paper's balanced hash: ids by falling frequency, each to the expert with the least total frequency so far.
  static Hash balanced(const std::vector<double>& frequency_of_id, Index experts) {
    return {{detail::balanced_table(frequency_of_id, experts)}};
  }

  /// The paper's clustered hash: ids whose embeddings (ids, width) are close share an expert.
  template <class S, class Generator>
  static Hash clustered(const Matrix<S>& embedding_of_id, Index experts, Generator& generator, Index rounds = 50) {
    return {{detail::clustered_table(embedding_of_id, experts, generator, rounds)}};
  }

  void check(Index experts) const {
    require(!tables.empty() && !tables[0].empty(), "Hash: the table is empty");
    for (const std::vector<Index>& table : tables) {
      require(table.size() == tables[0].size(), "Hash: tables of ", tables[0].size(), " and ", table.size(), " ids");
      const auto [lowest, highest] = std::minmax_element(table.begin(), table.end());
      require(*lowest >= 0 && *highest < experts, "Hash: the table names experts ", *lowest, " to ", *highest,
              ", there are ", experts);
    }
    weights.check("Hash", "with one table", most_choices(experts), experts);
  }

  /// Throws std::invalid_argument if the batch has no ids, or one that is not in the table.
  template <class S>
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    routing.check(batch);
    require(!batch.ids.empty() || batch.tokens() == 0, "Hash: the batch has no ids; set Batch::ids");
    const S share = S(1) / static_cast<S>(tables.size());
    routing.choices_per_token = static_cast<Index>(tables.size());
    routing.selects_largest_logits = false;
    routing.probabilities_TE.setZero();
    for (std::size_t h = 0; h < tables.size(); ++h)
      for (Index t = 0; t < batch.tokens(); ++t) {
        if (!routing.is_valid(t)) continue;
        const std::int64_t id = batch.ids[static_cast<std::size_t>(t)];
        require(id >= 0 && std::cmp_less(id, tables[h].size()), "Hash: token ", batch.number_of(t), " has id ", id,
                ", the table has ", tables[h].size());
        const Index expert = tables[h][static_cast<std::size_t>(id)];
        require(expert >= 0 && expert < routing.experts(), "Hash: the table names expert ", expert, ", there are ",
                routing.experts());
        routing.probabilities_TE(t, expert) += share;
        routing.choices.push_back({t, expert, share, static_cast<int>(h)});
      }
    if (!weights.reads_logits()) return;
    routing.set_probabilities();
    weights.weigh(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    if (weights.reads_logits()) weights.backward(routing, drouting);
  }

  /// The tables are saved with a layer; surgery changes them.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    detail::for_each_listed(
        "tables", [&](std::string_view name, auto&... table) { visit_numbers(name, f, table...); }, self.tables...);
  }
};

MOE_NAMESPACE_END
