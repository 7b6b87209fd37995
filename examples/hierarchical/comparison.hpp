// The comparisons: a linear map, a flat mixture and a tree, on the same data with the same budget.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../support/digits.hpp"
#include "../training_regimes/data.hpp"
#include "moe/moe.hpp"
#include "systems.hpp"
#include "training.hpp"

namespace hierarchical {

inline constexpr Index trainings = 6;  // of a run

/// A linear map, flat and tree, in this order: the rows of a comparison.
using Comparison = std::vector<Result>;
enum Row : std::size_t { linear_row, flat_row, tree_row };

template <class Gate, class Losses, class Loss>
Comparison compare(const Data& data, Shape shape, bool dense, const Losses& losses, const Loss& loss,
                   const Schedule& schedule, moe::Random& random) {
  const Index all = shape.groups * shape.experts, active = dense ? all : shape.k * shape.k;
  const std::string kind = dense ? "dense" : "sparse";
  Comparison rows;
  rows.push_back(train({"linear", 1, 1}, flat<Gate>(1, 1, losses, data.train, random), loss, data, schedule, random));
  rows.push_back(train({kind + ", flat", all, active}, flat<Gate>(all, active, losses, data.train, random), loss, data,
                       schedule, random));
  rows.push_back(train({kind + ", tree", all, active}, tree<Gate>(shape, losses, data.train, random), loss, data,
                       schedule, random));
  rows[linear_row].parameters = data.train.target_TO.cols() * (data.train.x_TD.cols() + 1);  // its gate has no say
  rows[linear_row].router_products = 0;
  return rows;
}

inline Comparison compare_sparse(Shape shape, const Schedule& schedule, std::uint64_t seed) {
  const auto digits = example::read_digits(MOE_EXAMPLE_DATA "/digits8x8.csv", seed);
  const Data data{{digits.train.x_TD.cast<double>(), digits.train.labels, 10},
                  {digits.test.x_TD.cast<double>(), digits.test.labels, 10}};
  const Balance balance{{.coefficient = 0.1}, {.coefficient = 0.1}};
  moe::Random random(seed);
  return compare<SparseGate>(data, shape, false, balance, CrossEntropy{}, schedule, random);
}

inline Comparison compare_dense(Shape shape, const Schedule& schedule, std::uint64_t seed) {
  const auto vowels = regimes::read_data(MOE_EXAMPLE_DATA "/peterson_barney.csv");
  const Data data{{vowels.train.x_TD, vowels.train.vowel, 10}, {vowels.test.x_TD, vowels.test.vowel, 10}};
  moe::Random random(seed);
  return compare<moe::Softmax>(data, shape, true, moe::Losses<>{}, Likelihood{}, schedule, random);
}

/// Means over the runs, in place of the first one's numbers.
inline Comparison average(const std::vector<Comparison>& runs) {
  Comparison means = runs[0];
  const auto share = 1 / static_cast<double>(runs.size());
  for (std::size_t row = 0; row < means.size(); ++row) {
    const auto of = [&](auto&& part) {
      double sum = 0;
      for (const Comparison& run : runs) sum += part(run[row]);
      return sum * share;
    };
    Result& mean = means[row];
    mean.router_products = of([](const Result& r) { return r.router_products; });
    mean.milliseconds = of([](const Result& r) { return r.milliseconds; });
    mean.spread.groups = of([](const Result& r) { return r.spread.groups; });
    mean.spread.experts = of([](const Result& r) { return r.spread.experts; });
    for (const Comparison& run : runs)
      mean.spread.fewest_of_group = (std::min)(mean.spread.fewest_of_group, run[row].spread.fewest_of_group);
    for (std::size_t i = 0; i < mean.train.size(); ++i) {
      mean.train[i] = {of([&](const Result& r) { return r.train[i].loss; }),
                       of([&](const Result& r) { return r.train[i].right; })};
      mean.test[i] = {of([&](const Result& r) { return r.test[i].loss; }),
                      of([&](const Result& r) { return r.test[i].right; })};
    }
  }
  return means;
}

}  // namespace hierarchical
