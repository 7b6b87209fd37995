#include "moe/surgery/expert_sources.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "support/expect_invalid.hpp"

namespace moe {
namespace expert_sources_test {

using support::expect_invalid;

TEST(ExpertSources, CopiesNameOneSourceEach) {
  const ExpertSources sources = ExpertSources::copies(3, {2, 0});
  EXPECT_EQ(sources.count(), 2);
  EXPECT_EQ(sources.parents[0][0].expert, 2);
  EXPECT_EQ(sources.parents[0][0].share, 1);
  EXPECT_EQ(ExpertSources::all(3).count(), 3);
}

TEST(ExpertSources, WhatIsNotThereIsRefused) {
  EXPECT_NO_THROW(ExpertSources::all(2).check());
  expect_invalid([] { ExpertSources::copies(2, {}).check(); }, {"no expert would be left"});
  expect_invalid([] { ExpertSources::copies(2, {0, 2}).check(); }, {"expert 2, there are 2"});
  expect_invalid([] { ExpertSources::copies(2, {-1}).check(); }, {"expert -1"});
  ExpertSources sources = ExpertSources::all(1);
  sources.parents[0][0].share = std::numeric_limits<double>::quiet_NaN();
  expect_invalid([&] { sources.check(); }, {"a share of nan"});
  sources.parents[0][0].share = -1;
  expect_invalid([&] { sources.check(); }, {"a share of -1"});
}

TEST(Heirs, TakeTurns) {
  ExpertSources sources = ExpertSources::copies(3, {1, 0, 1});
  detail::Heirs heirs(sources);
  EXPECT_EQ(heirs.take(1), 0);
  EXPECT_EQ(heirs.take(0), 1);
  EXPECT_EQ(heirs.take(1), 2);
  EXPECT_EQ(heirs.take(1), 0);
  EXPECT_FALSE(heirs.any(2));
  for (const Index all : {0, 1, 2, 0}) EXPECT_EQ(heirs.take(2), all);
}

}  // namespace expert_sources_test
}  // namespace moe
