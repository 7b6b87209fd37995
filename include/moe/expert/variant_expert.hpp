// Experts of different types and widths in one layer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "moe/concepts.hpp"
#include "moe/core/check_gradient.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/variant.hpp"
#include "moe/expert/properties.hpp"
#include "moe/expert/stages.hpp"
#include "moe/expert/tape_settings.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// For a tape of which nobody asks which tokens its rows are.
struct NoOuterTokens {};

}  // namespace detail

/// One of the experts Xs, made from any of them:
///   using Any = moe::VariantExpert<float, moe::SwiGlu<float>, moe::IdentityExpert<float>, MyExpert>;
///   std::vector<Any> experts{moe::SwiGlu<float>::random(D, F, rng), moe::IdentityExpert<float>{}, MyExpert{...}};
/// Nothing is virtual. Parameters have the names that the expert at hand gives them. Which expert that is, is saved
/// with them as its number in Xs, and a file of another one is refused: make the list alike. In a layer, experts that
/// have stages are run by them.
template <class S, class... Xs>
struct VariantExpert {
  static_assert((Expert<Xs, S> && ...),
                "moe::VariantExpert: one of its types is not an expert: it needs Tape and forward(x, y, tape) const; "
                "see moe/concepts.hpp");

  std::variant<Xs...> expert;

  struct Tape {
    std::tuple<typename Xs::Tape...> tapes;    ///< For each of Xs; they keep their memory when another one is at hand.
    std::size_t at_hand = sizeof...(Xs);       ///< The number in Xs of the expert that had the forward pass.
    std::optional<std::uint64_t> random = {};  ///< Seed of its draws in a training pass.
    S loss_scale = 1;
    bool keep_activations = true;  ///< false: for a pass without a backward pass.
    [[no_unique_address]] std::conditional_t<(detail::LayersTape<typename Xs::Tape> || ...), detail::OuterTokens,
                                             detail::NoOuterTokens>
        outer;  // for the experts that are layers
  };

  VariantExpert() = default;
  template <class X>
  requires(std::is_same_v<std::remove_cvref_t<X>, Xs> || ...) VariantExpert(X&& one)
      : expert(std::forward<X>(one)) {}  // NOLINT(google-explicit-constructor)

  /// f(the expert at hand, its number in Xs as an integral constant).
  template <class F>
  decltype(auto) visit(F&& f) const {
    return detail::visit_alternative(expert, std::forward<F>(f));
  }

  Index output_width(Index width) const {
    return visit([&](const auto& own, auto) { return detail::output_width(own, width); });
  }

  void check(Index width) const {
    require(!expert.valueless_by_exception(), "VariantExpert: it holds no expert");
    visit([&](const auto& own, auto) {
      if constexpr (requires { own.check(width); }) own.check(width);
    });
  }

  void check_gradient(const VariantExpert& gradient) const {
    require_same_type(gradient);
    visit([&](const auto& own, auto i) {
      detail::check_gradient("VariantExpert: the gradient", own, *std::get_if<i>(&gradient.expert));
    });
  }

  void forward(ConstMatrixRef<S> x_ND, MatrixRef<S> y_NO, Tape& tape) const {
    check(x_ND.cols());
    visit([&](const auto& own, auto i) { own.forward(x_ND, y_NO, begin<i>(tape)); });
  }

  void backward(ConstMatrixRef<S> x_ND, ConstMatrixRef<S> dy_NO, Tape& tape, MatrixRef<S> dx_ND,
                VariantExpert& gradient) const requires(TrainableExpert<Xs, S>&&...) {
    check(x_ND.cols());
    check_gradient(gradient);
    visit([&](const auto& own, auto i) {
      own.backward(x_ND, dy_NO, begun<i>(tape), dx_ND, *std::get_if<i>(&gradient.expert));
    });
  }

  /// Of an expert that is a layer.
  S auxiliary_loss(const Tape& tape) const requires(detail::HasAuxiliaryLoss<Xs> || ...) {
    return visit([&](const auto& own, auto i) -> S {
      if constexpr (detail::HasAuxiliaryLoss<std::remove_cvref_t<decltype(own)>>)
        return tape.at_hand == i ? own.auxiliary_loss(std::get<i>(tape.tapes)) : S(0);
      else
        return S(0);
    });
  }

  // An expert without stages does all in the first stage, which has one column.
  using StagesOf = std::conditional_t<(TrainableExpert<Xs, S> && ...), VariantExpert, void>;  // void: has none
  static constexpr int stages = [] {
    int most = 1;
    const auto count = [&]<class X>(std::type_identity<X>) {
      if constexpr (detail::has_stages<X, S>()) most = (std::max)(most, static_cast<int>(X::stages));
    };
    (count(std::type_identity<Xs>{}), ...);
    return most;
  }();

  Index forward_columns(int stage) const {
    return visit([&](const auto& own, auto) -> Index {
      if constexpr (is_staged<decltype(own)>)
        return stage < own.stages ? own.forward_columns(stage) : 0;
      else
        return stage == 0 ? 1 : 0;
    });
  }
  Index backward_columns(int stage) const {
    return visit([&](const auto& own, auto) -> Index {
      if constexpr (is_staged<decltype(own)>)
        return stage < own.stages ? own.backward_columns(stage) : 0;
      else
        return stage == 0 ? 1 : 0;
    });
  }

  void begin_forward(Index rows, Tape& tape) const {
    visit([&](const auto& own, auto i) {
      auto& own_tape = begin<i>(tape);
      if constexpr (is_staged<decltype(own)>) own.begin_forward(rows, own_tape);
    });
  }
  void begin_backward(Index rows, Tape& tape) const {
    visit([&](const auto& own, auto i) {
      auto& own_tape = begun<i>(tape);
      if constexpr (is_staged<decltype(own)>) own.begin_backward(rows, own_tape);
    });
  }

  Index rows_of_block() const {
    return visit([&](const auto& own, auto) -> Index {
      if constexpr (is_staged<decltype(own)> && requires { own.rows_of_block(); })
        return own.rows_of_block();
      else
        return 0;
    });
  }

  void forward_stage(int stage, ConstMatrixRef<S> x_ND, MatrixRef<S> y_NO, Tape& tape, Index row, Index first,
                     Index count) const {
    visit([&](const auto& own, auto i) {
      auto& own_tape = std::get<i>(tape.tapes);
      if constexpr (is_staged<decltype(own)>)
        own.forward_stage(stage, x_ND, y_NO, own_tape, row, first, count);
      else
        own.forward(x_ND, y_NO, own_tape);
    });
  }
  void backward_stage(int stage, ConstMatrixRef<S> x_ND, ConstMatrixRef<S> dy_NO, Tape& tape, MatrixRef<S> dx_ND,
                      VariantExpert& gradient, Index first, Index count) const requires(TrainableExpert<Xs, S>&&...) {
    visit([&](const auto& own, auto i) {
      auto& own_tape = std::get<i>(tape.tapes);
      auto& own_gradient = *std::get_if<i>(&gradient.expert);
      if constexpr (is_staged<decltype(own)>)
        own.backward_stage(stage, x_ND, dy_NO, own_tape, dx_ND, own_gradient, first, count);
      else
        own.backward(x_ND, dy_NO, own_tape, dx_ND, own_gradient);
    });
  }

  template <class F, class One, class... More>
  static void visit_parameters(F&& f, One& one, More&... more) {
    (one.require_same_type(more), ...);
    detail::visit_alternative(one.expert, [&](auto& own, [[maybe_unused]] auto i) {
      detail::visit_own_parameters(f, own, *std::get_if<i>(&more.expert)...);
    });
  }
  template <class F, class One, class... More>
  static void visit_buffers(F&& f, One& one, More&... more) {
    (one.require_same_type(more), ...);
    const auto alternative = static_cast<std::int64_t>(one.expert.index());
    visit_numbers("alternative", f, alternative, (static_cast<void>(more), alternative)...);
    detail::visit_alternative(one.expert, [&](auto& own, [[maybe_unused]] auto i) {
      for_each_buffer(f, own, *std::get_if<i>(&more.expert)...);
    });
  }

 private:
  template <class X>
  static constexpr bool is_staged = detail::has_stages<std::remove_cvref_t<X>, S>();

  /// The tape of expert i, ready for a forward pass.
  template <std::size_t i>
  static auto& begin(Tape& tape) {
    tape.at_hand = i;
    auto& own_tape = std::get<i>(tape.tapes);
    if constexpr (detail::DrawingTape<std::remove_cvref_t<decltype(own_tape)>>) {
      if (tape.random)
        own_tape.random.emplace(*tape.random);
      else
        own_tape.random.reset();
    }
    detail::set_keep_activations(tape.keep_activations, own_tape);
    if constexpr (detail::LayersTape<std::remove_cvref_t<decltype(own_tape)>>) std::swap(own_tape.outer, tape.outer);
    return own_tape;
  }

  /// The same for a backward pass.
  template <std::size_t i>
  static auto& begun(Tape& tape) {
    require(tape.at_hand < sizeof...(Xs), "VariantExpert: the tape holds no forward pass");
    require(tape.at_hand == i, "VariantExpert: the tape is of expert type ", tape.at_hand,
            " of the list, the expert is of type ", i);
    auto& own_tape = std::get<i>(tape.tapes);
    detail::set_loss_scale(tape.loss_scale, own_tape);
    return own_tape;
  }

  void require_same_type(const VariantExpert& other) const {
    require(expert.index() == other.expert.index(), "VariantExpert: expert types ", expert.index(), " and ",
            other.expert.index(), " of the list do not match");
  }
};

MOE_NAMESPACE_END
