// Where rows go: the choices that fit into the experts' capacity, grouped by expert and, the same pairs, by token.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "moe/batch.hpp"
#include "moe/core.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

/// How many choices an expert takes from one group of tokens.
class Capacity {
 public:
  /// No limit: nothing is dropped.
  static Capacity unlimited() { return Capacity(Rule{}); }

  /// C = ceil(factor * choices / E), where `choices` counts the choices that the gate made in the group: T * k for
  /// top-k gates, without padding. (V-MoE, Megatron-Core and, for k >= 2, DeepSpeed count so; others leave out k.)
  /// Throws std::invalid_argument unless the factor is finite and > 0.
  static Capacity factor(double factor) {
    detail::require(std::isfinite(factor) && factor > 0, "Capacity::factor: the factor is ", factor,
                    ", it must be finite and more than 0");
    return Capacity(Rule{.limited = true, .factor = factor});
  }

  /// C = slots, whatever the batch; 0 drops everything. Throws std::invalid_argument if negative.
  static Capacity exactly(Index slots) {
    detail::require(slots >= 0, "Capacity::exactly: ", slots, " slots, it must be 0 or more");
    return Capacity(Rule{.limited = true, .slots = slots});
  }

  /// Another capacity for passes with an unseeded tape, that is for evaluation and inference.
  Capacity at_inference(const Capacity& other) const {
    Capacity both = *this;
    both.inference_ = other.inference_;
    return both;
  }

  /// C for a group in which `choices` were made.
  Index slots(Index choices, Index experts, bool training) const {
    const Rule& rule = training ? training_ : inference_;
    if (!rule.limited) return choices;
    if (rule.factor == 0) return (std::min)(rule.slots, choices);
    const double wanted = std::ceil(rule.factor * static_cast<double>(choices) / static_cast<double>(experts));
    return wanted < static_cast<double>(choices) ? static_cast<Index>(wanted) : choices;
  }

 private:
  struct Rule {
    bool limited = false;
    double factor = 0;
    Index slots = 0;
  };

  explicit Capacity(Rule rule) : training_(rule), inference_(rule) {}

  Rule training_, inference_;
};

/// N slots, each one row of one expert's input: by expert, slots first_slot[e] .. first_slot[e + 1] - 1 are expert e's,
/// in order of priority; by token, the slots of token t are token_slots[first_of_token[t] .. first_of_token[t + 1] -
/// 1], in order of priority.
template <class S>
struct Plan {
  std::vector<Index> first_slot;       // E + 1
  std::vector<Index> token, choice;    // N: the token, and the index of the choice in the routing
  std::vector<S> weight;               // N
  std::vector<Index> first_of_token;   // T + 1
  std::vector<Index> token_slots;      // N
  std::vector<Index> dropped_choices;  // indices of the choices that found no room
  std::vector<Index> chosen;           // E: choices per expert before dropping

  Index slots() const { return static_cast<Index>(token.size()); }
  Index experts() const { return static_cast<Index>(chosen.size()); }
  Index tokens() const { return static_cast<Index>(first_of_token.size()) - 1; }
  Index begin_of(Index expert) const { return first_slot[static_cast<std::size_t>(expert)]; }
  Index rows_of(Index expert) const { return begin_of(expert + 1) - begin_of(expert); }

  /// Groups the routing's choices. Where an expert is full, the later in order of priority are dropped; a dropped
  /// choice adds nothing to its token. Two stable counting sorts, O(choices + E + T). Throws std::invalid_argument if a
  /// choice names a token or an expert that does not exist.
  void build(const Batch<S>& batch, const Routing<S>& routing, const Capacity& capacity, bool training) {
    const auto at = [](Index i) { return static_cast<std::size_t>(i); };
    const Index expert_count = routing.experts(), token_count = routing.tokens(), groups = batch.groups();
    const auto choice_count = static_cast<Index>(routing.choices.size());

    room_.assign(at(groups), 0);
    for (Index i = 0; i < choice_count; ++i) {
      const Choice<S>& c = routing.choices[at(i)];
      detail::require(c.token >= 0 && c.token < token_count, "Plan: choice ", i, " names token ", c.token, " of ",
                      token_count);
      detail::require(c.expert >= 0 && c.expert < expert_count, "Plan: choice ", i, " of token ", c.token,
                      " names expert ", c.expert, " of ", expert_count);
      ++room_[at(batch.group_of(c.token))];
    }
    for (Index& room : room_) room = capacity.slots(room, expert_count, training);

    chosen.assign(at(expert_count), 0);
    first_slot.assign(at(expert_count + 1), 0);
    first_of_token.assign(at(token_count + 1), 0);
    taken_.assign(at(groups * expert_count), 0);
    kept_.assign(at(choice_count), 0);
    dropped_choices.clear();
    for (Index i = 0; i < choice_count; ++i) {
      const Choice<S>& c = routing.choices[at(i)];
      const Index group = batch.group_of(c.token);
      Index& taken = taken_[at(group * expert_count + c.expert)];
      ++chosen[at(c.expert)];
      if (taken == room_[at(group)]) {
        dropped_choices.push_back(i);
        continue;
      }
      ++taken;
      kept_[at(i)] = 1;
      ++first_slot[at(c.expert + 1)];
      ++first_of_token[at(c.token + 1)];
    }
    for (std::size_t e = 1; e < first_slot.size(); ++e) first_slot[e] += first_slot[e - 1];
    for (std::size_t t = 1; t < first_of_token.size(); ++t) first_of_token[t] += first_of_token[t - 1];

    const Index slot_count = first_slot.back();
    token.resize(at(slot_count));
    choice.resize(at(slot_count));
    weight.resize(at(slot_count));
    token_slots.resize(at(slot_count));
    next_slot_.assign(first_slot.begin(), first_slot.end() - 1);
    next_of_token_.assign(first_of_token.begin(), first_of_token.end() - 1);
    for (Index i = 0; i < choice_count; ++i) {
      if (!kept_[at(i)]) continue;
      const Choice<S>& c = routing.choices[at(i)];
      const Index slot = next_slot_[at(c.expert)]++;
      token[at(slot)] = c.token;
      choice[at(slot)] = i;
      weight[at(slot)] = c.weight;
      token_slots[at(next_of_token_[at(c.token)]++)] = slot;
    }
  }

 private:
  std::vector<Index> room_, taken_, next_slot_, next_of_token_;  // kept for the next build
  std::vector<unsigned char> kept_;
};

MOE_NAMESPACE_END
