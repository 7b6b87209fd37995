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
#include <string_view>
#include <type_traits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/entry_tasks.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/function_ref.hpp"
#include "moe/core/parameter_view.hpp"
#include "moe/core/visit_parts.hpp"
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

namespace detail {

/// for_each_parameter without the parameters' types: f(name, views), a view of each model's parameter.
template <class... Models>
void for_each_view(FunctionRef<void(std::string_view, const ParameterView*)> f, Models&... models) {
  for_each_parameter(ViewVisitor{f}, models...);
}

template <class Model>
std::vector<ParameterView> views_of(Model& model) {
  std::vector<ParameterView> views;
  for_each_view([&](std::string_view, const ParameterView* parameter) { views.push_back(*parameter); }, model);
  return views;
}

inline void set_all_zero(const std::vector<ParameterView>& parameters, ExecutorRef executor) {
  EntryTasks tasks;
  for (const ParameterView& parameter : parameters) tasks.add(parameter.size());
  tasks.run(executor,
            [&](Index, std::size_t run, Index begin, Index count) { parameters[run].run(begin, count).set_zero(); });
}

}  // namespace detail

/// Whatever is thrown, also std::bad_alloc, the model is unchanged.
template <class Model, class Exec = DefaultExecutor>
requires(!std::is_const_v<Model>) void set_zero(Model& model, const Exec& executor = {}) {
  detail::set_all_zero(detail::views_of(model), executor);
}

/// A copy whose parameters are all zero: a gradient, or an optimiser's moment.
template <class Model>
Model zeros_like(const Model& model) {
  Model zeros = model;
  set_zero(zeros);
  return zeros;
}

namespace detail {

inline Index count_entries(const std::vector<ParameterView>& parameters) {
  Index count = 0;
  for (const ParameterView& parameter : parameters) count += parameter.size();
  return count;
}

inline Vector<double> flatten_entries(const std::vector<ParameterView>& parameters) {
  Vector<double> flat(count_entries(parameters));
  double* next = flat.data();
  for (const ParameterView& parameter : parameters) {
    parameter.read(0, parameter.size(), next);
    next += parameter.size();
  }
  return flat;
}

inline void unflatten_entries(const Vector<double>& flat, const std::vector<ParameterView>& parameters) {
  const Index count = count_entries(parameters);
  require(flat.size() == count, "unflatten: the vector has ", flat.size(), " entries, the model ", count);
  const double* next = flat.data();
  for (const ParameterView& parameter : parameters) {
    parameter.write(0, parameter.size(), next);
    next += parameter.size();
  }
}

}  // namespace detail

/// Number of trained scalars.
template <class Model>
Index parameter_count(const Model& model) {
  return detail::count_entries(detail::views_of(model));
}

/// All parameters in the order of the visitor, one after the other, each in memory order; double holds a float exactly.
template <class Model>
Vector<double> flatten(const Model& model) {
  return detail::flatten_entries(detail::views_of(model));
}

/// The reverse of flatten. Throws std::invalid_argument if the length is not the model's; whatever is thrown, also
/// std::bad_alloc, the model is unchanged.
template <class Model>
void unflatten(const Vector<double>& flat, Model& model) {
  detail::unflatten_entries(flat, detail::views_of(model));
}

namespace detail {

/// Whether this name, in which `*` stands for any characters, is that of the parameter or of a part that it belongs to.
inline bool covers(std::string_view name, std::string_view parameter) {
  const std::size_t star = name.find('*');
  if (!parameter.starts_with(name.substr(0, star))) return false;
  if (star == std::string_view::npos) return parameter.size() == name.size() || parameter[name.size()] == '.';
  name.remove_prefix(star + 1);
  const std::string_view text = name.substr(0, name.find('*'));
  for (std::size_t at = star; (at = parameter.find(text, at)) != std::string_view::npos; ++at) {
    const bool is_covered = covers(name, parameter.substr(at));
    if (is_covered || text.size() < name.size()) return is_covered;  // before a star the first place is the best
  }
  return false;
}

inline void require_same_shape(std::string_view what, std::string_view name, const ParameterView& a,
                               const ParameterView& b) {
  require(a.rows == b.rows && a.cols == b.cols, what, ": '", name, "' is ", a.rows, " x ", a.cols, " in the model and ",
          b.rows, " x ", b.cols, " here");
  require(a.size() == 0 || a.data != b.data, what, ": '", name, "' is the model's own memory");
}

/// Throws std::invalid_argument, naming the parameter, unless both have the same shapes, and memory of their own.
template <class Model>
void require_same_shapes(std::string_view what, const Model& model, const Model& other) {
  for_each_view(
      [what](std::string_view name, const ParameterView* views) { require_same_shape(what, name, views[0], views[1]); },
      model, other);
}

}  // namespace detail

MOE_NAMESPACE_END
