// Forced routing: choices given from outside, or recorded from an earlier pass.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/gating/choice_weights.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// Makes the choices of a record, in the order of the record (Megatron-Core's router replay). With `weights` the
/// weights are made of the logits of this pass, as those of a top-k gate, and the router learns. Without, they are the
/// recorded weights, bit for bit, and constants. A batch with another number of tokens than the record is refused.
/// Choices of tokens that the layer treats as padding, since their logits are not finite, are left out.
template <class S>
struct Replay {
  std::vector<Choice<S>> choices = {};
  std::optional<ChoiceWeights> weights = {};  ///< Empty: the recorded weights.
  Index tokens = -1;  ///< How many the recorded pass had; -1: not known, any number is accepted (a list made by hand).

  bool choices_differ() const { return true; }
  Index most_choices(Index) const {
    Index highest = 0;
    for (const Choice<S>& c : choices) highest = (std::max)(highest, static_cast<Index>(c.rank));
    if (highest > 0) return highest + 1;
    std::vector<Index> count_T;  // no ranks were given
    for (const Choice<S>& c : choices) {
      if (c.token < 0) continue;
      const auto t = static_cast<std::size_t>(c.token);
      count_T.resize((std::max)(count_T.size(), t + 1), 0);
      ++count_T[t];
    }
    return count_T.empty() ? Index{0} : *std::max_element(count_T.begin(), count_T.end());
  }

  /// Noise has an effect only on weights that are made of logits.
  bool accepts_noise(bool weighs) const { return weighs && weights && weights->reads_logits(); }

  void check(Index experts) const {
    if (weights && weights->need_several_choices())
      weights->check("Replay", "where no token has more than one choice", most_choices(experts), experts);
  }

  /// The choices of a pass, with their recorded weights: Replay<float>::recorded(tape.routing). Or with weights that
  /// are made of the logits of the pass to come: Replay<float>::recorded(tape.routing,
  /// ChoiceWeights::softmax_of_chosen()).
  static Replay recorded(const Routing<S>& routing, std::optional<ChoiceWeights> weights = {}) {
    // A gate that could have made more choices may have made one for each token.
    if (weights) weights = weights->allowing_constant(routing.choices_per_token != 1);
    return {.choices = routing.choices, .weights = weights, .tokens = routing.tokens()};
  }

  /// Token t goes to experts (t k) mod E ... (t k + k - 1) mod E, each with weight 1 / k. All experts get equally many;
  /// for benchmarks and tests. Throws std::invalid_argument unless 1 <= k <= E.
  static Replay uniform(Index tokens, Index experts, Index k) {
    require(k >= 1 && k <= experts, "Replay::uniform: k is ", k, ", it must be in 1 .. ", experts);
    Replay replay{.tokens = tokens};
    for (Index rank = 0; rank < k; ++rank)
      for (Index t = 0; t < tokens; ++t)
        replay.choices.push_back({t, (t * k + rank) % experts, S(1) / static_cast<S>(k), static_cast<int>(rank)});
    return replay;
  }

  /// Throws std::invalid_argument if the record is of another number of tokens, or a choice names a token or an expert
  /// that does not exist, or padding, or the same pair twice.
  void route(const Batch<S>& batch, Routing<S>& routing, Random*) const {
    detail::check_route(*this, batch, routing);
    require(tokens < 0 || tokens == batch.tokens(), "Replay: the record is of ", tokens, " tokens, the batch has ",
            batch.tokens());
    std::vector<Index>& pairs = routing.workspace.indices;
    pairs.clear();
    for (const Choice<S>& c : choices) {
      require(c.token >= 0 && c.token < batch.tokens() && c.expert >= 0 && c.expert < routing.experts(),
              "Replay: token ", c.token, " of ", batch.tokens(), " is sent to expert ", c.expert, " of ",
              routing.experts());
      require(batch.is_valid(c.token), "Replay: token ", batch.number_of(c.token), " is padding");
      pairs.push_back(c.token * routing.experts() + c.expert);
    }
    std::sort(pairs.begin(), pairs.end());
    const auto twice = std::adjacent_find(pairs.begin(), pairs.end());
    require(twice == pairs.end(), "Replay: token ",
            twice == pairs.end() ? 0 : batch.number_of(*twice / routing.experts()), " is sent to an expert twice");
    routing.set_probabilities();
    routing.selects_largest_logits = false;
    routing.choices = choices;
    std::erase_if(routing.choices, [&](const Choice<S>& c) { return !routing.is_valid(c.token); });
    for (Choice<S>& c : routing.choices)
      if (c.fate == Fate::dropped) c.fate = Fate::sent;  // the plan will drop it again, if it must
    if (weights) weights->weigh(routing);
  }

  void backward(const Routing<S>& routing, Routing<S>& drouting) const {
    routing.check_gradient(drouting);
    if (!weights)
      for (Choice<S>& c : drouting.choices) c.weight = S(0);
    weights.value_or(ChoiceWeights::uniform()).backward(routing, drouting);
  }

  /// The record, field by field.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    visit_field<Index>("record.token", &Choice<S>::token, f, self...);
    visit_field<Index>("record.expert", &Choice<S>::expert, f, self...);
    visit_field<S>("record.weight", &Choice<S>::weight, f, self...);
    visit_field<int>("record.rank", &Choice<S>::rank, f, self...);
    visit_field<std::uint8_t>("record.fate", &Choice<S>::fate, f, self...);
    visit_numbers("record.tokens", f, self.tokens...);
  }

 private:
  /// Visits one field of all choices as a vector of Number.
  template <class Number, class Field, class F, class... Self>
  static void visit_field(std::string_view name, Field Choice<S>::*field, F& f, Self&... self) {
    static_assert(sizeof(Number) == sizeof(Field) && sizeof(Choice<S>) % sizeof(Number) == 0);
    using Stride = Eigen::InnerStride<static_cast<int>(sizeof(Choice<S>) / sizeof(Number))>;
    const auto column = [&](auto& record) {
      constexpr bool is_const = std::is_const_v<std::remove_reference_t<decltype(record)>>;
      using Column = Eigen::Map<std::conditional_t<is_const, const Vector<Number>, Vector<Number>>, 0, Stride>;
      using Pointer = std::conditional_t<is_const, const Number*, Number*>;
      auto* first = record.empty() ? nullptr : &(record.front().*field);
      return Column(reinterpret_cast<Pointer>(first), static_cast<Index>(record.size()));
    };
    const auto visit = [&](auto... columns) { f(name, columns...); };
    visit(column(self.choices)...);
  }
};

MOE_NAMESPACE_END
