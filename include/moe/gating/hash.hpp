// Hash layers: the token's id decides, by a fixed table.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/kernel/selection.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Token t goes to tables[h][batch.ids[t]] for each of the H tables, with weight 1 / H (Roller et al. 2021, section 3;
/// several tables are its multi-hash, without the cutting of weights): the experts' mean, nothing is learned, and
/// NoRouter will do. Where two tables name one expert, it counts twice. Or the tables select, and what is learned
/// weighs: other ChoiceWeights (DeepSeek-V4's first layers: Scores::sqrt_softplus({.scale = ...}), and one table
/// for each of its k experts).
struct Hash {
  std::vector<std::vector<Index>> tables;            ///< Of experts, by id; all of the same length.
  ChoiceWeights weights = ChoiceWeights::uniform();  ///< uniform: 1 / H.

  Index most_choices(Index) const { return static_cast<Index>(tables.size()); }

  /// Noise has an effect only on weights that the logits make.
  bool accepts_noise(bool weighs) const { return weighs && weights.reads_logits(); }

  /// Every id to an expert drawn uniformly (the paper's random hash).
  template <class Generator>
  static Hash random(Index ids, Index experts, Generator& generator) {
    require(ids > 0 && experts > 0, "Hash::random: ", ids, " ids and ", experts, " experts, both must be 1 or more");
    std::vector<Index> table;
    for (Index id = 0; id < ids; ++id) table.push_back(detail::random_index(generator, experts));
    return {{table}};
  }

  /// The paper's balanced hash: ids by falling frequency, each to the expert that has least so far; ties go to the
  /// lower id and the lower expert.
  static Hash balanced(const std::vector<double>& frequency_of_id, Index experts) {
    require(!frequency_of_id.empty() && experts > 0, "Hash::balanced: ", frequency_of_id.size(), " ids and ", experts,
            " experts, both must be 1 or more");
    for (std::size_t id = 0; id < frequency_of_id.size(); ++id)
      require(detail::has_finite_bits(frequency_of_id[id]) && frequency_of_id[id] >= 0, "Hash::balanced: id ", id,
              " has frequency ", frequency_of_id[id], ", it must be finite and 0 or more");
    std::vector<std::size_t> by_frequency(frequency_of_id.size());
    std::iota(by_frequency.begin(), by_frequency.end(), std::size_t{0});
    std::sort(by_frequency.begin(), by_frequency.end(), [&](std::size_t a, std::size_t b) {
      return frequency_of_id[a] != frequency_of_id[b] ? frequency_of_id[a] > frequency_of_id[b] : a < b;
    });
    std::vector<double> load(static_cast<std::size_t>(experts), 0);
    std::vector<Index> table(frequency_of_id.size());
    for (const std::size_t id : by_frequency) {
      const auto lightest = std::min_element(load.begin(), load.end());
      *lightest += frequency_of_id[id];
      table[id] = lightest - load.begin();
    }
    return {{table}};
  }

  /// The paper's clustered hash: ids whose embeddings (ids, width) are close share an expert. By k-means (Lloyd) from E
  /// different ids drawn by the generator; at most `rounds` rounds.
  template <class S, class Generator>
  static Hash clustered(const Matrix<S>& embedding_of_id, Index experts, Generator& generator, Index rounds = 50) {
    const Index ids = embedding_of_id.rows();
    require(experts > 0 && ids >= experts && rounds > 0, "Hash::clustered: ", ids, " ids, ", experts, " experts, ",
            rounds, " rounds: at least as many ids as experts, and 1 or more of each");
    std::vector<Index> order(static_cast<std::size_t>(ids)), table(static_cast<std::size_t>(ids), -1);
    std::iota(order.begin(), order.end(), Index{0});
    Matrix<S> center(experts, embedding_of_id.cols());
    for (Index e = 0; e < experts; ++e) {
      const Index pick = e + detail::random_index(generator, ids - e);
      std::swap(order[static_cast<std::size_t>(e)], order[static_cast<std::size_t>(pick)]);
      center.row(e) = embedding_of_id.row(order[static_cast<std::size_t>(e)]);
    }
    for (bool moved = true; moved && rounds > 0; --rounds) {
      moved = false;
      for (Index id = 0; id < ids; ++id) {
        Index nearest = 0;
        (center.rowwise() - embedding_of_id.row(id)).rowwise().squaredNorm().minCoeff(&nearest);
        moved = moved || table[static_cast<std::size_t>(id)] != nearest;
        table[static_cast<std::size_t>(id)] = nearest;
      }
      Matrix<S> sum = Matrix<S>::Zero(experts, embedding_of_id.cols());
      Vector<S> count = Vector<S>::Zero(experts);
      for (Index id = 0; id < ids; ++id) {
        sum.row(table[static_cast<std::size_t>(id)]) += embedding_of_id.row(id);
        count(table[static_cast<std::size_t>(id)]) += S(1);
      }
      for (Index e = 0; e < experts; ++e)
        if (count(e) > 0) center.row(e) = sum.row(e) / count(e);
    }
    return {{table}};
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
    for (Index t = 0; t < routing.tokens(); ++t)
      detail::softmax_row(routing.weighing_logits_TE().row(t).data(), routing.experts(),
                          routing.probabilities_TE.row(t).data());
    weights.weigh(routing);
  }

  template <class S>
  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    if (weights.reads_logits()) weights.backward(routing, drouting);
  }

  /// The tables are state: drawn, or dealt anew in surgery.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    detail::for_each_listed(
        "tables", [&](std::string_view name, auto&... table) { detail::visit_numbers(name, f, table...); },
        self.tables...);
  }
};

static_assert(TrainableGate<Hash, float>);

MOE_NAMESPACE_END
