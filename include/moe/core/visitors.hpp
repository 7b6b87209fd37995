// Whether a type names its parameters and buffers (moe/core/parameters.hpp). One that keeps matrices and names none of
// them, or that misspells its visitor, is refused at compile time: it would be saved and trained without them.
#pragma once

#include <string_view>
#include <type_traits>
#include <vector>

#include "moe/core/version.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

struct AnyVisitor {
  template <class... Parameters>
  void operator()(std::string_view, Parameters&...) const {}
};

template <class Part>
concept NamesParameters = requires(Part& part) {
  std::remove_const_t<Part>::visit_parameters(AnyVisitor{}, part);
};

template <class Part>
concept NamesBuffers = requires(Part& part) {
  std::remove_const_t<Part>::visit_buffers(AnyVisitor{}, part);
};

/// A matrix or vector of Eigen's, or Weights.
template <class M>
concept IsMatrix = requires(M& matrix) {
  typename M::Scalar;
  matrix.rows();
  matrix.cols();
  matrix.data();
};

template <class Field>
inline constexpr bool keeps_matrices = IsMatrix<Field> || NamesParameters<Field>;
template <class Item, class Allocator>
inline constexpr bool keeps_matrices<std::vector<Item, Allocator>> = keeps_matrices<Item>;

/// Converts to a field that keeps matrices, and to nothing else.
struct AnyMatrices {
  template <class Field>
  requires keeps_matrices<Field>
  operator Field() const;
};

/// Converts to nothing: for fields that take whatever comes, such as a std::any.
struct NoMatrices {};

/// Whether one of the first twelve fields of the aggregate can be initialised by a Value.
template <class Aggregate, class Value>
concept HasFieldFrom = requires(Value v) {
  Aggregate{v};
}
|| requires(Value v) { Aggregate{{}, v}; }
|| requires(Value v) { Aggregate{{}, {}, v}; }
|| requires(Value v) { Aggregate{{}, {}, {}, v}; }
|| requires(Value v) { Aggregate{{}, {}, {}, {}, v}; }
|| requires(Value v) { Aggregate{{}, {}, {}, {}, {}, v}; }
|| requires(Value v) { Aggregate{{}, {}, {}, {}, {}, {}, v}; }
|| requires(Value v) { Aggregate{{}, {}, {}, {}, {}, {}, {}, v}; }
|| requires(Value v) { Aggregate{{}, {}, {}, {}, {}, {}, {}, {}, v}; }
|| requires(Value v) { Aggregate{{}, {}, {}, {}, {}, {}, {}, {}, {}, v}; }
|| requires(Value v) { Aggregate{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, v}; }
|| requires(Value v) { Aggregate{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, v}; };

/// Whether a part may keep what it learns without naming it. The fields of an aggregate are looked at; of another class
/// it is enough that it keeps memory, or that it has a Tape and is not empty.
template <class Part>
constexpr bool keeps_unnamed_matrices() {
  if constexpr (std::is_empty_v<Part> || !std::is_class_v<Part> || IsMatrix<Part>)
    return false;
  else if constexpr (NamesParameters<Part> || NamesBuffers<Part>)
    return false;
  else if constexpr (std::is_aggregate_v<Part>)
    return HasFieldFrom<Part, AnyMatrices> && !HasFieldFrom<Part, NoMatrices>;
  else
    return !std::is_trivially_destructible_v<Part> || requires { typename Part::Tape; };
}

/// Refuses a part whose parameters or buffers would be passed over without a word.
template <class Model>
constexpr void check_visitors() {
  using Part = std::remove_const_t<Model>;
  static_assert(
      !requires(Part & part) { Part::visit_parameter(AnyVisitor{}, part); } &&
          !requires(Part & part) { Part::visit_params(AnyVisitor{}, part); } &&
          !requires(Part & part) { Part::visit_buffer(AnyVisitor{}, part); },
      "moe: this part misspells the visitor of its parameters or buffers: it must be visit_parameters or "
      "visit_buffers; see moe/core/parameters.hpp");
  static_assert((NamesParameters<Part> || !requires { &Part::template visit_parameters<AnyVisitor>; }) &&
                    (NamesBuffers<Part> || !requires { &Part::template visit_buffers<AnyVisitor>; }),
                "moe: visit_parameters or visit_buffers of this part cannot be called: it must be template <class F, "
                "class... Self> static void visit_parameters(F&& f, Self&... self); see moe/core/parameters.hpp");
  static_assert(
      !keeps_unnamed_matrices<Part>(),
      "moe: this part keeps matrices and names none of them, so that it would be saved and trained without them: it "
      "needs template <class F, class... Self> static void visit_parameters(F&& f, Self&... self), with an empty body "
      "if nothing is learned; see moe/core/parameters.hpp");
}

}  // namespace detail

MOE_NAMESPACE_END
