#include "moe/core/visit_parts.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "support/expect_invalid.hpp"

namespace moe {
namespace visit_parts_test {

struct Leaf {
  int value = 0;
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("value", self.value...);
  }
};

struct Tree {
  std::vector<Leaf> leaves;
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    visit_list("leaves", f, self.leaves...);
  }
};

TEST(VisitParts, NamesSayInWhichPartAParameterIs) {
  Tree tree{{{1}, {2}}};
  std::vector<std::string> names;
  const auto f = [&](std::string_view name, int&) { names.emplace_back(name); };
  visit_part("tree", f, tree);
  EXPECT_EQ(names, (std::vector<std::string>{"tree.leaves.0.value", "tree.leaves.1.value"}));
}

TEST(VisitParts, WhatHasNoParametersIsPassedOver) {
  int number = 3;
  const auto f = [](std::string_view, int&) { ADD_FAILURE(); };
  visit_part("number", f, number);
}

TEST(VisitParts, ListsOfOtherLengthsAreRefused) {
  Tree two{{{1}, {2}}}, one{{{1}}};
  const auto f = [](std::string_view, int&, int&) {};
  support::expect_invalid([&] { Tree::visit_parameters(f, two, one); }, {"'leaves'", "2 parts", "and 1 "});
}

TEST(VisitParts, NumbersAreSeenAsVectors) {
  std::vector<double> list{1, 2};
  double sum = 0;
  const auto f = [&](std::string_view, auto view) { sum += view.sum(); };
  visit_numbers("list", f, list);
  EXPECT_EQ(sum, 3);
}

// However deep parts lie in parts, what they are visited by is one type.
TEST(VisitParts, AVisitorWithinAVisitorIsOfTheSameType) {
  const auto f = [](std::string_view) {};
  auto outer = detail::visitor_of_part("a", f);
  static_assert(std::is_same_v<decltype(detail::visitor_of_part("b", outer)), decltype(outer)>);
}

}  // namespace visit_parts_test
}  // namespace moe
