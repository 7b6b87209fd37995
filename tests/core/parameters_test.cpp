#include "moe/core/parameters.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "support/expect_invalid.hpp"

namespace moe {
namespace parameters_test {

using support::expect_invalid;

struct Pair {
  Matrix<float> a;
  Vector<double> b;
  double setting = 7;

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("a", self.a...);
    f("b", self.b...);
  }
};

struct Counter {
  Vector<double> count = Vector<double>::Ones(2);

  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    f("count", self.count...);
  }
};

struct Nest {
  std::vector<Pair> pairs;
  int no_parameters = 0;

  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_list("pairs", f, self.pairs...);
    visit_part("no_parameters", f, self.no_parameters...);
  }
};

Pair example() {
  Pair pair{Matrix<float>(2, 2), Vector<double>(1)};
  pair.a << 1, 2, 3, 4;
  pair.b << 5;
  return pair;
}

TEST(Parameters, AreCountedOverAllMembers) { EXPECT_EQ(parameter_count(example()), 5); }

TEST(Parameters, FlattenInTheVisitorsOrderRowByRow) {
  EXPECT_EQ(flatten(example()), (Vector<double>{{1, 2, 3, 4, 5}}));
}

TEST(Parameters, UnflattenIsTheReverseOfFlatten) {
  Pair pair = zeros_like(example());
  unflatten(flatten(example()), pair);
  EXPECT_EQ(pair.a, example().a);
  EXPECT_EQ(pair.b, example().b);
}

TEST(Parameters, UnflattenRefusesAnotherLengthAndChangesNothing) {
  Pair pair = example();
  expect_invalid([&] { unflatten(Vector<double>::Zero(4), pair); }, {"has 4 entries", "model 5"});
  EXPECT_EQ(flatten(pair), flatten(example()));
}

TEST(Parameters, ZerosLikeKeepsShapesAndSettings) {
  Pair pair = example();
  pair.setting = 3;
  const Pair zeros = zeros_like(pair);
  EXPECT_EQ(zeros.a, Matrix<float>::Zero(2, 2));
  EXPECT_EQ(zeros.b, Vector<double>::Zero(1));
  EXPECT_EQ(zeros.setting, 3);
  EXPECT_EQ(pair.a, example().a);
}

TEST(Parameters, TwoModelsAreWalkedInLockstep) {
  Pair pair = example();
  const Pair other = example();
  for_each_parameter([](std::string_view, auto& p, const auto& q) { p += q; }, pair, other);
  EXPECT_EQ(flatten(pair), 2 * flatten(other));
}

TEST(Parameters, NamesOfListsCarryTheirPosition) {
  const Nest nest{{example(), example()}};
  std::vector<std::string> names;
  for_each_parameter([&](std::string_view name, const auto&) { names.emplace_back(name); }, nest);
  EXPECT_EQ(names, (std::vector<std::string>{"pairs.0.a", "pairs.0.b", "pairs.1.a", "pairs.1.b"}));
}

TEST(Parameters, ListsOfOtherLengthsAreRefused) {
  const Nest two{{example(), example()}}, one{{example()}};
  expect_invalid([&] { detail::require_same_shapes("the gradient", two, one); }, {"'pairs'", "2 parts", "and 1 "});
  expect_invalid([&] { detail::require_same_shapes("the gradient", one, two); }, {"'pairs'", "1 parts", "and 2 "});
}

TEST(Parameters, BuffersAreWalkedWhereThereAreAny) {
  int buffers = 0;
  const auto count = [&](std::string_view, const auto&) { ++buffers; };
  const Counter counter;
  const Pair pair = example();
  for_each_buffer(count, counter);
  for_each_buffer(count, pair);
  EXPECT_EQ(buffers, 1);
  EXPECT_EQ(parameter_count(counter), 0);
}

TEST(Parameters, ANameCoversItselfAndWhatItHolds) {
  EXPECT_TRUE(detail::covers("experts.1", "experts.1"));
  EXPECT_TRUE(detail::covers("experts.1", "experts.1.weight"));
  EXPECT_FALSE(detail::covers("experts.1", "experts.12"));
  EXPECT_FALSE(detail::covers("experts.1", "experts.12.weight"));
  EXPECT_FALSE(detail::covers("experts.1", "experts"));
}

TEST(Parameters, AStarStandsForAnyCharacters) {
  EXPECT_TRUE(detail::covers("*", "router"));
  EXPECT_TRUE(detail::covers("*.b1", "experts.1.b1"));
  EXPECT_TRUE(detail::covers("experts.*.b1", "experts.12.b1"));
  EXPECT_TRUE(detail::covers("*.moe", "blocks.0.moe.router.weight"));
  EXPECT_TRUE(detail::covers("*router", "router.bias"));
  EXPECT_TRUE(detail::covers("*.1.*.2", "a.1.b.1.c.2.d"));
  EXPECT_FALSE(detail::covers("*.b1", "experts.1.b12"));
  EXPECT_FALSE(detail::covers("*.b1", "b1"));
  EXPECT_FALSE(detail::covers("*.1.*.2", "a.2.b.1"));
  EXPECT_FALSE(detail::covers("experts.*.b1", "experts"));
}

/// By trying all places for all stars.
bool covers_somehow(std::string_view name, std::string_view parameter) {
  if (name.empty()) return parameter.empty() || parameter.front() == '.';
  if (name.front() == '*')
    return covers_somehow(name.substr(1), parameter) ||
           (!parameter.empty() && covers_somehow(name, parameter.substr(1)));
  return !parameter.empty() && name.front() == parameter.front() && covers_somehow(name.substr(1), parameter.substr(1));
}

std::vector<std::string> texts_of(std::string_view characters, std::size_t longest) {
  std::vector<std::string> texts{""};
  for (std::size_t i = 0; i < texts.size(); ++i)
    for (const char c : characters)
      if (texts[i].size() < longest) texts.push_back(texts[i] + c);
  return texts;
}

TEST(Parameters, StarsAreMatchedWithoutTryingAllPlaces) {
  for (const std::string& name : texts_of("ab.*", 4))
    for (const std::string& parameter : texts_of("ab.", 5))
      EXPECT_EQ(detail::covers(name, parameter), covers_somehow(name, parameter)) << name << ' ' << parameter;
  std::string name;
  for (int i = 0; i < 20; ++i) name += "*a";
  EXPECT_FALSE(detail::covers(name + "*b", std::string(100, 'a')));
}

TEST(Parameters, AllIsSetToZeroByAnyExecutor) {
  Pair pair{Matrix<float>::Ones(300, 500), Vector<double>::Ones(7)};
  set_zero(pair, Team{3});
  EXPECT_EQ(pair.a, Matrix<float>::Zero(300, 500));
  EXPECT_EQ(pair.b, Vector<double>::Zero(7));
}

TEST(Parameters, OtherShapesAreRefusedByName) {
  Pair other = example();
  other.b.resize(3);
  expect_invalid([&] { detail::require_same_shapes("the gradient", example(), other); },
                 {"the gradient", "'b'", "1 x 1", "3 x 1"});
}

}  // namespace parameters_test
}  // namespace moe
