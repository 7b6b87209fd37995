// Tables that send the ids of tokens to experts: drawn, balanced by frequency, or clustered by embedding.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/kernel/long_sums.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Every id to an expert drawn uniformly.
template <class Generator>
std::vector<Index> random_table(Index ids, Index experts, Generator& generator) {
  require(ids > 0 && experts > 0, "Hash::random: ", ids, " ids and ", experts, " experts, both must be 1 or more");
  std::vector<Index> table;
  for (Index id = 0; id < ids; ++id) table.push_back(random_index(generator, experts));
  return table;
}

/// Ids by falling frequency, each to the expert with the least total frequency so far. Ties go to the lower id and to
/// the lower expert.
inline std::vector<Index> balanced_table(const std::vector<double>& frequency_of_id, Index experts) {
  require(!frequency_of_id.empty() && experts > 0, "Hash::balanced: ", frequency_of_id.size(), " ids and ", experts,
          " experts, both must be 1 or more");
  for (std::size_t id = 0; id < frequency_of_id.size(); ++id)
    require(has_finite_bits(frequency_of_id[id]) && frequency_of_id[id] >= 0, "Hash::balanced: id ", id,
            " has frequency ", frequency_of_id[id], ", it must be finite and 0 or more");
  std::vector<std::size_t> by_frequency(frequency_of_id.size());
  std::iota(by_frequency.begin(), by_frequency.end(), std::size_t{0});
  std::sort(by_frequency.begin(), by_frequency.end(), [&](std::size_t a, std::size_t b) {
    return frequency_of_id[a] != frequency_of_id[b] ? frequency_of_id[a] > frequency_of_id[b] : a < b;
  });
  std::vector<double> total_E(static_cast<std::size_t>(experts), 0);
  std::vector<Index> table(frequency_of_id.size());
  for (const std::size_t id : by_frequency) {
    const auto lightest = std::min_element(total_E.begin(), total_E.end());
    *lightest += frequency_of_id[id];
    table[id] = lightest - total_E.begin();
  }
  return table;
}

/// Ids whose embeddings (ids, width) are close share an expert: k-means (Lloyd) from E different ids that the generator
/// draws, at most `rounds` rounds.
template <class S, class Generator>
std::vector<Index> clustered_table(const Matrix<S>& embedding_of_id, Index experts, Generator& generator,
                                   Index rounds) {
  const Index ids = embedding_of_id.rows();
  require(experts > 0 && ids >= experts && rounds > 0, "Hash::clustered: ", ids, " ids, ", experts, " experts, ",
          rounds, " rounds: at least as many ids as experts, and 1 or more of each");
  std::vector<Index> order(static_cast<std::size_t>(ids)), table(static_cast<std::size_t>(ids), -1);
  std::iota(order.begin(), order.end(), Index{0});
  Matrix<S> center(experts, embedding_of_id.cols());
  for (Index e = 0; e < experts; ++e) {
    const Index pick = e + random_index(generator, ids - e);
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
    Matrix<Wide<S>> sum = Matrix<Wide<S>>::Zero(experts, embedding_of_id.cols());
    Vector<Wide<S>> count = Vector<Wide<S>>::Zero(experts);
    for (Index id = 0; id < ids; ++id) {
      sum.row(table[static_cast<std::size_t>(id)]) += embedding_of_id.row(id).template cast<Wide<S>>();
      count(table[static_cast<std::size_t>(id)]) += 1;
    }
    for (Index e = 0; e < experts; ++e)
      if (count(e) > 0) center.row(e) = (sum.row(e) / count(e)).template cast<S>();
  }
  return table;
}

}  // namespace detail

MOE_NAMESPACE_END
