#include "moe/optim/parameter_updates.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "moe/core/parameters.hpp"
#include "optim/toy.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace parameter_updates_test {

/// Adds `step` times the scaled slope to every entry.
struct Add {
  double step;

  template <class S>
  static void update(const Add& rule, const detail::SlopeOfStep& how, GroupFactors factors,
                     const detail::EntriesOfStep& at, Index count) {
    S* const slope = static_cast<S*>(at.slope);
    for (Index i = 0; i < count; ++i) {
      static_cast<S*>(at.parameter)[i] += static_cast<S>(rule.step * factors.learning_rate * how.scale) * slope[i];
      if (how.set_zero) slope[i] = 0;
    }
  }
  template <class S>
  static bool accepts(const void* slope, Index count, double scale) {
    return detail::all_finite(static_cast<const S*>(slope), count,
                              [=](S entry) { return entry * static_cast<S>(scale) * entry; });
  }
};

detail::UpdatesOf<Add> list(optim::Toy& model, const optim::Toy& gradient, const Frozen& frozen,
                            const ParameterGroups& groups = {}) {
  detail::UpdatesOf<Add> updates;
  for_each_parameter(detail::UpdateLister<Add>{frozen, groups, updates}, model, gradient);
  return updates;
}

constexpr double infinity = support::infinity_of<double>;

TEST(ParameterUpdates, AreMadeAfterTheWalkAndSpareWhatIsFrozen) {
  optim::Toy model;
  const optim::Toy gradient = optim::toy(1, 2, 5), before = model;
  auto updates = list(model, gradient, Frozen{"bias"}, {{"weight", {.learning_rate = 3}}});
  EXPECT_TRUE(updates.measure(infinity, false, Serial{}));
  EXPECT_EQ(flatten(model), flatten(before));
  EXPECT_EQ(updates.norm, std::sqrt(5.0));
  updates.make({2}, Serial{});
  EXPECT_EQ(flatten(model), (Vector<double>{{7, 10, 4}}));
  EXPECT_EQ(flatten(gradient), (Vector<double>{{1, 2, 5}}));
}

TEST(ParameterUpdates, ALongGradientIsScaledAndAllOfItSetToZero) {
  optim::Toy model;
  optim::Toy gradient = optim::toy(3, 4, support::nan_of<float>);
  auto updates = list(model, gradient, Frozen{"bias"});
  EXPECT_TRUE(updates.measure(2.5, true, Serial{}));
  updates.make({2}, Serial{});
  EXPECT_EQ(flatten(model), (Vector<double>{{4, 2, 4}}));
  EXPECT_EQ(flatten(gradient), (Vector<double>::Zero(3)));
}

TEST(ParameterUpdates, AreRefusedWhereTheRuleDoesNotAcceptAnEntryOrTheFactorHasNoDigits) {
  const auto measured = [](const optim::Toy& gradient, double limit) {
    optim::Toy model;
    return list(model, gradient, Frozen()).measure(limit, false, Serial{});
  };
  EXPECT_TRUE(measured(optim::toy(1e150, 1e150, 1e18f), infinity));
  EXPECT_FALSE(measured(optim::toy(1e155, 0, 0), infinity));
  EXPECT_FALSE(measured(optim::toy(0, 0, 1e20f), infinity));
  EXPECT_TRUE(measured(optim::toy(0, 0, 1e20f), 1));
  EXPECT_FALSE(measured(optim::toy(0, 0, 3e38f), 1e-4));
  EXPECT_FALSE(measured(optim::toy(0, support::nan_of<double>, 0), infinity));
  EXPECT_FALSE(measured(optim::toy(0, support::nan_of<double>, 0), 1));
  EXPECT_FALSE(measured(optim::toy(0, 0, support::infinity_of<float>), 1));
}

TEST(ParameterUpdates, EveryEntryIsLookedAt) {
  const auto same = [](double entry) { return entry; };
  for (const Index count : {1, 15, 16, 17, 40})
    for (Index bad = 0; bad < count; ++bad) {
      std::vector<double> entries(static_cast<std::size_t>(count), 1e308);
      EXPECT_TRUE(detail::all_finite(entries.data(), count, same));
      EXPECT_FALSE(detail::all_finite(entries.data(), count, [](double entry) { return entry * entry; }));
      entries[static_cast<std::size_t>(bad)] = support::nan_of<double>;
      EXPECT_FALSE(detail::all_finite(entries.data(), count, same));
    }
}

TEST(ParameterUpdates, PacketsAndWhatIsLeftCoverAllEntries) {
  for (const Index count : {0, 1, 15, 16, 37}) {
    std::vector<float> entries(static_cast<std::size_t>(count), 1);
    detail::for_each_packet<float>(count, [&](Index i, auto kind) {
      using V = decltype(kind);
      const V two = Eigen::internal::padd(Eigen::internal::ploadu<V>(entries.data() + i), Eigen::internal::pset1<V>(1));
      Eigen::internal::pstoreu(entries.data() + i, two);
    });
    EXPECT_EQ(entries, std::vector<float>(static_cast<std::size_t>(count), 2));
  }
}

}  // namespace parameter_updates_test
}  // namespace moe
