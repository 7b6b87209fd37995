// Training of one system, and what is measured of it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <ctime>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../support/budget.hpp"
#include "moe/moe.hpp"
#include "systems.hpp"

namespace hierarchical {

/// Of a whole set, without noise.
struct Score {
  double loss = 0, right = 0;
};

/// How tokens are shared out: coefficients of variation of the tokens of each group and of each expert, and the least
/// that a group gets.
struct Spread {
  double groups = 0, experts = 0;
  Index fewest_of_group = 0;
};

struct Result {
  std::string name;
  Index experts, active;  ///< Active: of a token.
  Index parameters = 0;
  double router_products = 0;                ///< Multiply-adds of the routers, of a token at inference.
  std::vector<Score> train = {}, test = {};  ///< At equal distances of the training.
  Spread spread = {};
  double milliseconds = 0;  ///< Of the processor: the median step.
};

inline constexpr std::size_t points_of_curve = 20;

template <class Model, class Loss>
Score score(const Model& model, const Loss& loss, const Set& set) {
  typename Model::Tape tape;
  const Matrix y_TO = model.forward(set.x_TD, tape, moe::Serial{});
  Index right = 0, answer = 0;
  for (Index t = 0; t < set.count(); ++t) {
    y_TO.row(t).maxCoeff(&answer);
    right += answer == set.label[static_cast<std::size_t>(t)] ? 1 : 0;
  }
  return {loss.value(model, tape, y_TO, set), static_cast<double>(right) / static_cast<double>(set.count())};
}

inline double coefficient_of_variation(const std::vector<Index>& counts) {
  const auto n = static_cast<double>(counts.size());
  const double mean = static_cast<double>(std::accumulate(counts.begin(), counts.end(), Index{0})) / n;
  double squares = 0;
  for (const Index count : counts) squares += std::pow(static_cast<double>(count) - mean, 2);
  return std::sqrt(squares / n) / mean;
}

template <class Model>
Spread spread(const Model& model, const Set& set) {
  typename Model::Tape tape;
  model.forward(set.x_TD, tape, moe::Serial{});
  const moe::Load load = moe::load_of(tape.plan);
  if constexpr (IsTree<Model>) {
    std::vector<Index> of_experts;
    for (std::size_t g = 0; g < model.experts.size(); ++g) {
      std::vector<Index> own(model.experts[g].experts.size(), 0);
      if (load.received[g] > 0) own = moe::load_of(tape.experts[g].plan).chosen;
      of_experts.insert(of_experts.end(), own.begin(), own.end());
    }
    return {load.coefficient_of_variation, coefficient_of_variation(of_experts),
            *std::min_element(load.chosen.begin(), load.chosen.end())};
  } else {
    return {0, load.coefficient_of_variation, 0};
  }
}

/// A token's logits: its groups', and its experts' in every group that it goes to.
template <class Model>
double router_products(const Model& model, const Set& set) {
  auto products = static_cast<double>(model.router.weight_ED.size());
  if constexpr (IsTree<Model>) {
    typename Model::Tape tape;
    model.forward(set.x_TD, tape, moe::Serial{});
    for (std::size_t g = 0; g < model.experts.size(); ++g)
      products +=
          static_cast<double>(model.experts[g].router.weight_ED.size() * tape.plan.rows_of(static_cast<Index>(g))) /
          static_cast<double>(set.count());
  }
  return products;
}

struct Schedule {
  Index steps;
  double seconds;  ///< Instead of the steps if greater than 0.
  double learning_rate, weight_decay = 1e-2;
  Index batch = 128;
};

/// AdamW on small batches. `result` comes with a name, and is filled in.
template <class Model, class Loss>
Result train(Result result, Model model, const Loss& loss, const Data& data, const Schedule& schedule,
             moe::Random& random) {
  moe::AdamW adam{model, {.weight_decay = schedule.weight_decay}};
  Model gradient = moe::zeros_like(model);
  typename Model::Tape tape{random.seed()};
  std::vector<Index> rows(static_cast<std::size_t>(schedule.batch));
  std::vector<double> times;
  const example::Pace pace(schedule.steps, schedule.seconds);
  for (Index step = 0;; ++step) {
    const double done = pace.fraction(step);
    while (static_cast<double>(result.train.size()) <= done * points_of_curve) {
      result.train.push_back(score(model, loss, data.train));
      result.test.push_back(score(model, loss, data.test));
    }
    if (done >= 1) break;
    for (Index& row : rows) row = static_cast<Index>(random.uniform() * static_cast<double>(data.train.count()));
    const Set batch = data.train.rows(rows);
    const std::clock_t start = std::clock();
    const Matrix y_TO = model.forward(batch.x_TD, tape, moe::Serial{});
    moe::set_zero(gradient);
    loss.backward(model, y_TO, batch, tape, gradient);
    adam.options.learning_rate = schedule.learning_rate * (1 - done);
    if (!adam.step(model, gradient)) throw std::runtime_error("the gradient is not finite");
    times.push_back(1e3 / CLOCKS_PER_SEC * static_cast<double>(std::clock() - start));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  result.milliseconds = times[times.size() / 2];
  result.parameters = moe::parameter_count(model);
  result.router_products = router_products(model, data.train);
  result.spread = spread(model, data.train);
  return result;
}

}  // namespace hierarchical
