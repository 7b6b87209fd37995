#include "moe/optim/parameter_updates.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "moe/core/parameters.hpp"
#include "optim/toy.hpp"
#include "support/matrices.hpp"

namespace moe {
namespace parameter_updates_test {

/// Adds `step` to every entry.
struct Add {
  double step;

  template <class S>
  static void update(const Add& rule, const detail::EntriesOfStep& at, Index count) {
    for (Index i = 0; i < count; ++i) static_cast<S*>(at.parameter)[i] += static_cast<S>(rule.step);
  }
  template <class S>
  static bool accepts(const S* slope, Index count) {
    return detail::all_finite(slope, count, [](S entry) { return entry; });
  }
};

TEST(ParameterUpdates, AreMadeAfterTheWalkAndSpareWhatIsFrozen) {
  optim::Toy model;
  const optim::Toy gradient = model;
  const Frozen frozen{"bias"};
  detail::UpdatesOf<Add> updates;
  for_each_parameter(detail::UpdateLister<Add>{frozen, updates}, model, gradient);
  EXPECT_TRUE(updates.is_finite);
  EXPECT_EQ(flatten(model), flatten(gradient));
  updates.make({2});
  EXPECT_EQ(flatten(model), (Vector<double>{{3, 0, 4}}));
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
