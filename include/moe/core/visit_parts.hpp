// For the visitors of what holds parts, such as a layer: its parts' parameters and buffers, each under the part's name.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "moe/core/core.hpp"
#include "moe/core/visitors.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

inline std::string name_within(std::string_view part, std::string_view name) {
  std::string path;
  path.reserve(part.size() + 1 + name.size());
  path.append(part).append(1, '.').append(name);
  return path;
}

inline std::string listed_name(std::string_view list, std::size_t i) { return name_within(list, std::to_string(i)); }

/// A visitor that calls another one with "part." before every name. However deep parts lie in parts, it is one type.
template <class F>
class VisitorOfPart {
 public:
  VisitorOfPart(std::string part, F& f) : part_(std::move(part)), f_(&f) {}

  template <class... Parameters>
  void operator()(std::string_view name, Parameters&... parameters) const {
    (*f_)(std::string_view(name_within(part_, name)), parameters...);
  }
  VisitorOfPart within(std::string_view part) const { return {name_within(part_, part), *f_}; }

 private:
  std::string part_;
  F* f_;
};

template <class F>
VisitorOfPart<F> visitor_of_part(std::string_view part, F& f) {
  return {std::string(part), f};
}
template <class F>
VisitorOfPart<F> visitor_of_part(std::string_view part, VisitorOfPart<F>& outer) {
  return outer.within(part);
}

/// Throws std::invalid_argument unless lists have one length: of a model whose experts were added or removed, and a
/// gradient that was not.
inline void require_as_many_parts(std::string_view name, std::size_t parts, std::size_t others) {
  require(others == parts, "parameters: '", name, "' has ", parts, " parts in the model and ", others,
          " in a value that goes with it (a gradient, an optimiser's moments)");
}

/// Calls visit(path, part, parts...) for lists of parts of one length, named "name.0", "name.1", ...
template <class Visit, class Parts, class... More>
void for_each_listed(std::string_view name, Visit&& visit, Parts& parts, More&... more) {
  (require_as_many_parts(name, parts.size(), more.size()), ...);
  for (std::size_t i = 0; i < parts.size(); ++i) visit(std::string_view(listed_name(name, i)), parts[i], more[i]...);
}

/// A view of a number or of a list of numbers (std::vector).
template <class Numbers>
auto as_vector(Numbers& numbers) {
  const auto view = [](auto* data, std::size_t size) {
    using S = std::remove_pointer_t<decltype(data)>;
    using Plain = Vector<std::remove_const_t<S>>;
    return Eigen::Map<std::conditional_t<std::is_const_v<S>, const Plain, Plain>>(data, static_cast<Index>(size));
  };
  if constexpr (std::is_arithmetic_v<Numbers>)
    return view(&numbers, 1);
  else
    return view(numbers.data(), numbers.size());
}

}  // namespace detail

/// Walks the parameters of a part, if it has any, each as "name.parameter". Nothing happens for a type that has no
/// visit_parameters, a plain matrix too, which f names; a part that keeps matrices and names none is refused at compile
/// time. For the visitor of what holds parts:
///   static void visit_parameters(F&& f, Self&... self) { moe::visit_part("moe", f, self.moe...); ... }
/// An f that has `part(name, part)` gets the part itself, not its parameters.
template <class F, class Part, class... Parts>
void visit_part(std::string_view name, F& f, Part& part, Parts&... parts) {
  detail::check_visitors<Part>();
  if constexpr (requires { f.part(name, part, parts...); })
    f.part(name, part, parts...);
  else if constexpr (requires { std::remove_const_t<Part>::visit_parameters(f, part, parts...); })
    std::remove_const_t<Part>::visit_parameters(detail::visitor_of_part(name, f), part, parts...);
}

/// The same for its buffers, in visit_buffers.
template <class F, class Part, class... Parts>
void visit_part_buffers(std::string_view name, F& f, Part& part, Parts&... parts) {
  detail::check_visitors<Part>();
  if constexpr (requires { std::remove_const_t<Part>::visit_buffers(f, part, parts...); })
    std::remove_const_t<Part>::visit_buffers(detail::visitor_of_part(name, f), part, parts...);
}

/// The same for a std::vector of parts, each as "name.0.parameter", "name.1.parameter", ...
template <class F, class List, class... Lists>
void visit_list(std::string_view name, F& f, List& list, Lists&... lists) {
  detail::for_each_listed(
      name, [&](std::string_view path, auto&... parts) { visit_part(path, f, parts...); }, list, lists...);
}
template <class F, class List, class... Lists>
void visit_list_buffers(std::string_view name, F& f, List& list, Lists&... lists) {
  detail::for_each_listed(
      name, [&](std::string_view path, auto&... parts) { visit_part_buffers(path, f, parts...); }, list, lists...);
}

/// For visit_buffers: lists of numbers, and single numbers, one of each model, as vectors. What is const can be
/// compared with a file, and cannot be set by it.
template <class F, class... Lists>
void visit_numbers(std::string_view name, F& f, Lists&... lists) {
  const auto visit = [&](auto... views) { f(name, views...); };
  visit(detail::as_vector(lists)...);
}

MOE_NAMESPACE_END
