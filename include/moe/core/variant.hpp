// What VariantExpert and VariantGate share: a call with the value that a std::variant holds.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>
#include <variant>

#include "moe/core/core.hpp"
#include "moe/core/visitors.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// f(the value, its number in the list as an integral constant); the last one's if the variant is valueless.
template <std::size_t i = 0, class Variant, class F>
decltype(auto) visit_alternative(Variant& variant, F&& f) {
  if constexpr (i + 1 < std::variant_size_v<std::remove_const_t<Variant>>)
    if (variant.index() != i) return visit_alternative<i + 1>(variant, std::forward<F>(f));
  return f(*std::get_if<i>(&variant), std::integral_constant<std::size_t, i>{});
}

/// The parameters of a value that may have some or not.
template <class F, class Part, class... More>
void visit_own_parameters(F& f, Part& part, More&... more) {
  check_visitors<Part>();
  if constexpr (requires { std::remove_const_t<Part>::visit_parameters(f, part, more...); })
    std::remove_const_t<Part>::visit_parameters(f, part, more...);
}

}  // namespace detail

MOE_NAMESPACE_END
