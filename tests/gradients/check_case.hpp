// One case of the grid: a layer, compared with the reference and then with differences.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "moe/moe.hpp"
#include "moe/testing/check_gradients.hpp"
#include "support/gradient_options.hpp"
#include "support/one_thread.hpp"
#include "support/random_model.hpp"
#include "support/reference_moe.hpp"

namespace gradients {

using moe::Index;

inline constexpr Index width = 5, hidden = 6;
inline constexpr double forward_tolerance = 1e-12, gradient_tolerance = 1e-6, rejected_share = 0.2;

/// What a grid did; printed, and judged as a whole, at its end.
struct Summary {
  std::string name;
  Index cases = 0, refused = 0, rejected = 0, checked = 0, kinks = 0;
  double worst_forward = 0, worst_gradient = 0;

  explicit Summary(std::string grid) : name(std::move(grid)) {}
  Summary(const Summary&) = delete;
  Summary& operator=(const Summary&) = delete;

  ~Summary() {
    std::cout << name << ": " << cases << " cases, " << refused << " refused as they must be, " << checked
              << " entries checked, worst relative error " << worst_gradient << " (of gradients), " << worst_forward
              << " (of values), " << kinks << " entries next to kinks, " << rejected << " samples rejected\n";
    EXPECT_GT(cases, 0);
    EXPECT_LT(static_cast<double>(rejected), rejected_share * static_cast<double>(cases + rejected));
    if (MOE_TEST_GRADIENT_ENTRIES > 0) {
      EXPECT_LT(static_cast<double>(kinks), rejected_share * static_cast<double>(checked + kinks));
    }
  }
};

/// All of a case but the layer and the tokens.
struct Setting {
  Index tokens = 4;
  reference::Room room = {};
  std::vector<std::uint8_t> valid = {};
  std::vector<std::int64_t> ids = {};
  Index group_size = 0;
  std::optional<std::uint64_t> tape_seed = {};  // of a training pass

  moe::Batch<double> batch(const moe::Matrix<double>& x_TD) const {
    moe::Batch<double> batch = x_TD;
    batch.valid = valid, batch.ids = ids, batch.group_size = group_size;
    return batch;
  }
};

inline void expect_close(Summary& summary, const char* what, double actual, double expected, double scale) {
  const double error = std::abs(actual - expected) / (std::max)(scale, 1e-2);
  EXPECT_LE(error, forward_tolerance) << what << " is " << actual << ", by the reference " << expected;
  summary.worst_forward = (std::max)(summary.worst_forward, error);
}

/// Decision, outputs and losses.
template <class Layer>
void compare_with_reference(Summary& summary, const Layer& layer, const Setting& setting,
                            const moe::Matrix<double>& x_TD) {
  const moe::Batch<double> batch = setting.batch(x_TD);
  typename Layer::Tape tape;
  std::optional<moe::Random> random;
  if (setting.tape_seed) tape.random.emplace(*setting.tape_seed), random.emplace(*setting.tape_seed);
  const moe::Matrix<double> y = layer.forward(batch, tape);
  const reference::Result expected = reference::forward(layer, batch, setting.room, random ? &*random : nullptr);

  ASSERT_EQ(tape.routing.choices.size(), expected.choices.size());
  std::vector<bool> kept(expected.choices.size(), true);
  for (const Index i : tape.plan.dropped_choices) kept[static_cast<std::size_t>(i)] = false;
  EXPECT_EQ(kept, expected.kept);
  for (std::size_t i = 0; i < expected.choices.size(); ++i) {
    const auto& actual = tape.routing.choices[i];
    EXPECT_EQ(actual.token, expected.choices[i].token);
    EXPECT_EQ(actual.expert, expected.choices[i].expert);
    EXPECT_EQ(actual.rank, expected.choices[i].rank);
    expect_close(summary, "a weight", actual.weight, expected.choices[i].weight, 1);
  }
  const double scale = y.size() > 0 ? y.cwiseAbs().maxCoeff() : 0;
  for (Index t = 0; t < y.rows(); ++t)
    for (Index o = 0; o < y.cols(); ++o)
      expect_close(summary, "y", y(t, o), expected.y[reference::at(t)][reference::at(o)], scale);
  const auto report = layer.losses.report(tape.routing);
  const reference::Row values = reference::loss_values(layer.losses, expected);
  for (std::size_t i = 0; i < report.size(); ++i)
    expect_close(summary, report[i].name.data(), report[i].value, values[i], std::abs(values[i]));
  expect_close(summary, "the auxiliary loss", layer.auxiliary_loss(tape), expected.auxiliary,
               std::abs(expected.auxiliary));
}

/// Samples with too many entries next to kinks show nothing: they are counted and drawn again. `check(layer, x_TD)`
/// gives the report on gradients, `draw(rng)` a layer.
template <class Draw, class Check>
void check_case(Summary& summary, const std::string& name, const Setting& setting, Draw&& draw, Check&& check) {
  SCOPED_TRACE(name);
  ++summary.cases;
  std::mt19937_64 rng(static_cast<std::uint64_t>(summary.cases));
  for (int attempt = 0; attempt < 20; ++attempt) {
    const auto layer = draw(rng);
    const moe::Matrix<double> x_TD = support::random_matrix(setting.tokens, width, rng);
    compare_with_reference(summary, layer, setting, x_TD);
    const moe::testing::GradientReport report = check(layer, x_TD);
    if (!report && report.worst <= gradient_tolerance) {
      ++summary.rejected;
      continue;
    }
    EXPECT_TRUE(report) << report;
    summary.checked += report.checked, summary.kinks += report.kinks;
    summary.worst_gradient = (std::max)(summary.worst_gradient, report.worst);
    return;
  }
  ADD_FAILURE() << "no sample away from kinks";
}

template <class Draw>
void check_case(Summary& summary, const std::string& name, const Setting& setting, Draw&& draw) {
  check_case(summary, name, setting, draw, [&](const auto& layer, const moe::Matrix<double>& x_TD) {
    return moe::testing::check_layer_gradients(
        layer, setting.batch(x_TD),
        support::gradient_options({.tolerance = gradient_tolerance, .tape_seed = setting.tape_seed}));
  });
}

/// Every auxiliary loss, the settings dealt round, with large coefficients: a wrong term shows next to the task's.
inline auto all_losses(Index number) {
  using Source = moe::ImportanceLoss::Source;
  using Count = moe::LoadBalanceLoss::Count;
  const auto variance = number % 3 == 0 ? moe::Variance::unbiased : moe::Variance::population;
  return moe::Losses{
      moe::ImportanceLoss{.coefficient = 0.7,
                          .source = number % 2 == 0 ? Source::weights : Source::clean_probabilities,
                          .variance = variance},
      moe::LoadLoss{.coefficient = 0.9,
                    .threshold = number % 5 < 3 ? moe::LoadLoss::Threshold::excluding_itself
                                                : moe::LoadLoss::Threshold::kth_largest,
                    .variance = variance},
      moe::LoadBalanceLoss{.coefficient = 0.8,
                           .count = std::vector{Count::first_choices, Count::all_choices,
                                                Count::all_choices_share}[static_cast<std::size_t>(number % 3)]},
      moe::RouterZLoss{.coefficient = 0.3}};
}

}  // namespace gradients
