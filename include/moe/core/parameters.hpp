// Parameters are plain data, walked by a visitor: a thing with parameters says so once, in one line per parameter,
//
//   template <class F, class... Self>
//   static void visit_parameters(F&& f, Self&... self) { f("w1", self.w1_FD...); f("w2", self.w2_DF...); }
//
// and any number of values of its type (the thing, its gradient, an optimiser's moments) are walked in lockstep. What
// holds parts, such as layers, names them by `visit_part` and `visit_list`, and its own matrices by f.
// State that is saved but not trained is told by `visit_buffers`, of the same form: whatever changes outputs and is no
// setting of the program's text.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/visitors.hpp"

MOE_NAMESPACE_BEGIN

/// Calls f(name, parameter_of_model, parameter_of_models...) for each parameter: an Eigen matrix or vector, or Weights,
/// which has Scalar, rows(), cols(), size(), data(), array() and setZero() as they do. All models are of one type
/// (const or not) and of the same shapes.
template <class F, class Model, class... Models>
void for_each_parameter(F&& f, Model& model, Models&... models) {
  using M = std::remove_const_t<Model>;
  constexpr bool has_visitor = requires { M::visit_parameters(f, model, models...); };
  static_assert(has_visitor,
                "moe: this type does not name its parameters: it needs template <class F, class... Self> static void "
                "visit_parameters(F&& f, Self&... self); see moe/core/parameters.hpp");
  if constexpr (has_visitor) {
    detail::check_visitors<M>();
    M::visit_parameters(f, model, models...);
  }
}

/// The same for saved state that is not trained; a model without any needs no visit_buffers.
template <class F, class Model, class... Models>
void for_each_buffer(F&& f, Model& model, Models&... models) {
  detail::check_visitors<Model>();
  if constexpr (requires { std::remove_const_t<Model>::visit_buffers(f, model, models...); })
    std::remove_const_t<Model>::visit_buffers(f, model, models...);
}

template <class Model>
void set_zero(Model& model) {
  for_each_parameter([](std::string_view, auto& parameter) { parameter.setZero(); }, model);
}

/// A copy whose parameters are all zero: a gradient, or an optimiser's moment.
template <class Model>
Model zeros_like(const Model& model) {
  Model zeros = model;
  set_zero(zeros);
  return zeros;
}

/// Number of trained scalars.
template <class Model>
Index parameter_count(const Model& model) {
  Index count = 0;
  for_each_parameter([&](std::string_view, const auto& parameter) { count += parameter.size(); }, model);
  return count;
}

/// All parameters in the order of the visitor, one after the other, each in memory order; double holds a float exactly.
template <class Model>
Vector<double> flatten(const Model& model) {
  Vector<double> flat(parameter_count(model));
  Index begin = 0;
  for_each_parameter(
      [&](std::string_view, const auto& parameter) {
        for (Index i = 0; i < parameter.size(); ++i) flat(begin + i) = static_cast<double>(parameter.data()[i]);
        begin += parameter.size();
      },
      model);
  return flat;
}

namespace detail {

/// What is to be done to parameters, once the walk over them is done: a walk allocates names, and what it changes by
/// itself could stop half way.
class Updates {
 public:
  /// What update() needs it holds by value: views of parameters, not references to them. It must not throw.
  template <class Update>
  void add(Update&& update) {
    list_.emplace_back(std::forward<Update>(update));
  }
  void run() {
    for (auto& update : list_) update();
  }

 private:
  std::vector<std::function<void()>> list_;
};

}  // namespace detail

/// The reverse of flatten. Throws std::invalid_argument if the length is not the model's; whatever is thrown, also
/// std::bad_alloc, the model is unchanged.
template <class Model>
void unflatten(const Vector<double>& flat, Model& model) {
  require(flat.size() == parameter_count(model), "unflatten: the vector has ", flat.size(), " entries, the model ",
          parameter_count(model));
  const double* next = flat.data();
  detail::Updates updates;
  for_each_parameter(
      [&](std::string_view, auto& parameter) {
        using S = std::remove_cvref_t<decltype(parameter.data()[0])>;
        updates.add([from = next, to = parameter.data(), size = parameter.size()] {
          for (Index i = 0; i < size; ++i) to[i] = static_cast<S>(from[i]);
        });
        next += parameter.size();
      },
      model);
  updates.run();
}

namespace detail {

/// Whether this name is that of the parameter or of a part that it belongs to.
inline bool covers(std::string_view name, std::string_view parameter) {
  return parameter.starts_with(name) && (parameter.size() == name.size() || parameter[name.size()] == '.');
}

/// Throws std::invalid_argument, naming the parameter, unless both have the same shapes, and memory of their own.
template <class Model>
void require_same_shapes(std::string_view what, const Model& model, const Model& other) {
  for_each_parameter(
      [&](std::string_view name, const auto& a, const auto& b) {
        require(a.rows() == b.rows() && a.cols() == b.cols(), what, ": '", name, "' is ", a.rows(), " x ", a.cols(),
                " in the model and ", b.rows(), " x ", b.cols(), " here");
        require(a.size() == 0 || a.data() != b.data(), what, ": '", name, "' is the model's own memory");
      },
      model, other);
}

/// The visitor f, with "prefix." before every name.
template <class F>
auto with_prefix(std::string_view prefix, F& f) {
  return [prefix, &f](std::string_view name, auto&... parameters) {
    std::string path;
    path.reserve(prefix.size() + 1 + name.size());
    path.append(prefix).append(1, '.').append(name);
    f(std::string_view(path), parameters...);
  };
}

/// Calls visit(path, part, parts...) for a list of parts, named "name.0", "name.1", ... Throws std::invalid_argument
/// unless all lists have one length: of a model whose experts were added or removed, and a gradient that was not.
template <class Visit, class Parts, class... More>
void for_each_listed(std::string_view name, Visit&& visit, Parts& parts, More&... more) {
  (require(more.size() == parts.size(), "parameters: '", name, "' has ", parts.size(), " parts in the model and ",
           more.size(), " in a value that goes with it (a gradient, an optimiser's moments)"),
   ...);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    std::string path(name);
    path.append(1, '.').append(std::to_string(i));
    visit(std::string_view(path), parts[i], more[i]...);
  }
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
    std::remove_const_t<Part>::visit_parameters(detail::with_prefix(name, f), part, parts...);
}

/// The same for its buffers, in visit_buffers.
template <class F, class Part, class... Parts>
void visit_part_buffers(std::string_view name, F& f, Part& part, Parts&... parts) {
  detail::check_visitors<Part>();
  if constexpr (requires { std::remove_const_t<Part>::visit_buffers(f, part, parts...); })
    std::remove_const_t<Part>::visit_buffers(detail::with_prefix(name, f), part, parts...);
}

/// The same for a std::vector of parts, each as "name.0.parameter", "name.1.parameter", ...
template <class F, class... Parts>
void visit_list(std::string_view name, F& f, Parts&... lists) {
  detail::for_each_listed(
      name, [&](std::string_view path, auto&... parts) { visit_part(path, f, parts...); }, lists...);
}
template <class F, class... Parts>
void visit_list_buffers(std::string_view name, F& f, Parts&... lists) {
  detail::for_each_listed(
      name, [&](std::string_view path, auto&... parts) { visit_part_buffers(path, f, parts...); }, lists...);
}

/// For visit_buffers: lists of numbers, and single numbers, one of each model, as vectors. What is const can be
/// compared with a file, and cannot be set by it.
template <class F, class... Lists>
void visit_numbers(std::string_view name, F& f, Lists&... lists) {
  const auto visit = [&](auto... views) { f(name, views...); };
  visit(detail::as_vector(lists)...);
}

namespace detail {
using moe::visit_list, moe::visit_list_buffers, moe::visit_numbers, moe::visit_part, moe::visit_part_buffers;
}  // namespace detail

MOE_NAMESPACE_END
