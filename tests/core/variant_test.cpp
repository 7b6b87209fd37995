#include "moe/core/variant.hpp"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>
#include <variant>

#include "moe/core/parameters.hpp"

namespace moe {
namespace variant_test {

using Any = std::variant<int, double, std::string>;

/// The number of the alternative and how it prints.
std::string seen(const Any& value) {
  return detail::visit_alternative(value, [](const auto& held, auto number) {
    std::string text = std::to_string(number()) + " ";
    if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::string>)
      return text + held;
    else
      return text + std::to_string(static_cast<int>(held));
  });
}

TEST(Variant, TheValueThatIsHeldIsVisitedWithItsNumber) {
  EXPECT_EQ(seen(Any{7}), "0 7");
  EXPECT_EQ(seen(Any{8.0}), "1 8");
  EXPECT_EQ(seen(Any{std::string("nine")}), "2 nine");
}

TEST(Variant, AHeldValueCanBeChanged) {
  Any value{7};
  detail::visit_alternative(value, [](auto& held, auto) { held = {}; });
  EXPECT_EQ(std::get<int>(value), 0);
}

struct WithParameters {
  Matrix<float> weight;
  template <class F, class... Self>
  static void visit_parameters(F&& f, Self&... self) {
    f("weight", self.weight...);
  }
};
struct WithoutParameters {};

TEST(Variant, ParametersAreThoseOfTheHeldValueIfItHasSome) {
  std::string names;
  const auto collect = [&](std::string_view name, const auto&) { names += name; };
  const WithParameters with{Matrix<float>::Zero(2, 2)};
  const WithoutParameters without;
  detail::visit_own_parameters(collect, without);
  EXPECT_EQ(names, "");
  detail::visit_own_parameters(collect, with);
  EXPECT_EQ(names, "weight");
}

}  // namespace variant_test
}  // namespace moe
