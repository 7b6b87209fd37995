// Where rows go: the choices that fit into the experts' capacity, grouped by
// expert and, the same pairs, by token.
#pragma once

#include <cstddef>
#include <vector>

#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/capacity.hpp"
#include "moe/routing/dispatch_options.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// N slots, each one row of one expert's input: by expert, slots first_slot[e] .. first_slot[e + 1] - 1 are expert e's,
/// in order of priority; by token, the slots of token t are token_slots[first_of_token[t] .. first_of_token[t + 1] -
/// 1], in order of priority.
template <class S>
struct Plan {
  std::vector<Index> first_slot;         // E + 1
  std::vector<Index> token, choice;      // N: the token, and the index of the choice in the routing
  std::vector<S> weight;                 // N
  std::vector<Index> first_of_token;     // T + 1
  std::vector<Index> token_slots;        // N
  std::vector<Index> dropped_choices;    // indices of the choices whose expert was full
  std::vector<Index> chosen;             // E: choices per expert that were sent, before dropping
  std::vector<Index> capacity_of_group;  // by group: how many choices each expert takes
  Index unsent = 0;                      // choices that the gate did not send
  bool is_limited = false;               // by a capacity, so that choices could be dropped
  bool weighs_input = false;             // the weight multiplies the expert's input instead of its output

  Index slots() const { return static_cast<Index>(token.size()); }
  Index experts() const { return static_cast<Index>(chosen.size()); }
  Index tokens() const { return static_cast<Index>(first_of_token.size()) - 1; }
  Index begin_of(Index expert) const { return first_slot[at(expert)]; }
  Index rows_of(Index expert) const { return begin_of(expert + 1) - begin_of(expert); }

  /// What a slot's input and what its output is multiplied by: one of them by the weight.
  S input_scale(Index slot) const { return weighs_input ? weight[at(slot)] : S(1); }
  S output_scale(Index slot) const { return weighs_input ? S(1) : weight[at(slot)]; }

  /// Groups the routing's choices, and tells each its fate. Where an expert is full, the later in order of priority are
  /// dropped. Two stable counting sorts, O(choices + E + T). Throws std::invalid_argument if a choice names a token or
  /// an expert that does not exist.
  void build(const Batch<S>& batch, Routing<S>& routing, const DispatchOptions& options, bool training) {
    batch.check();
    require(routing.tokens() == batch.tokens() && static_cast<Index>(routing.valid_T.size()) == batch.tokens(),
            "Plan: a routing of ", routing.tokens(), " tokens for a batch of ", batch.tokens());
    measure_capacity(batch, routing, options.capacity, training);
    decide_fates(batch, routing);
    fill_slots(routing);
    is_limited = options.capacity.is_limited(training);
    weighs_input = options.weigh_input;
    renormalized_ = options.renormalize_kept;
    if (renormalized_) renormalize(static_cast<S>(options.renormalize_floor));
  }

  /// drouting's choices += the gradients of the slots' weights, through the renormalisation if there is one.
  template <class Entries>
  void backward(Entries& dweight_N, Routing<S>& drouting) const {
    require(dweight_N.size() == slots() && drouting.choices.size() == choices_, "Plan::backward: gradients of ",
            dweight_N.size(), " slots' weights and ", drouting.choices.size(), " choices, the plan has ", slots(),
            " and ", choices_);
    if (renormalized_) renormalize_backward(dweight_N);
    for (Index slot = 0; slot < slots(); ++slot) drouting.choices[at(choice[at(slot)])].weight += dweight_N(slot);
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }

  template <class Entries>
  void renormalize_backward(Entries& dweight_N) const {
    // w = p / s with s = max(sum p, floor): dp = (dw - sum dw w) / s, without the sum where the floor holds.
    for (Index t = 0; t < tokens(); ++t) {
      const Index begin = first_of_token[at(t)], end = first_of_token[at(t + 1)];
      S inner = 0;
      for (Index i = begin; i < end && !at_floor_[at(t)]; ++i)
        inner += dweight_N(token_slots[at(i)]) * weight[at(token_slots[at(i)])];
      for (Index i = begin; i < end; ++i) {
        S& dw = dweight_N(token_slots[at(i)]);
        dw = (dw - inner) / sum_[at(t)];
      }
    }
  }

  void measure_capacity(const Batch<S>& batch, const Routing<S>& routing, const Capacity& capacity, bool training) {
    const Index groups = batch.groups();
    capacity_of_group.assign(at(groups), 0);
    taken_.assign(at(groups), 0);  // the groups' tokens, here
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      require(c.token >= 0 && c.token < routing.tokens(), "Plan: choice ", i, " names token ", c.token, " of ",
              routing.tokens());
      require(routing.is_valid(c.token), "Plan: choice ", i, " names token ", batch.number_of(c.token),
              ", which is padding");
      require(c.expert >= 0 && c.expert < routing.experts(), "Plan: choice ", i, " of token ", c.token,
              " names expert ", c.expert, " of ", routing.experts());
      ++capacity_of_group[at(batch.group_of(c.token))];
    }
    for (Index t = 0; t < routing.tokens(); ++t) taken_[at(batch.group_of(t))] += routing.is_valid(t) ? 1 : 0;
    for (Index g = 0; g < groups; ++g)
      capacity_of_group[at(g)] = capacity.slots(taken_[at(g)], capacity_of_group[at(g)], routing.experts(), training);
  }

  /// Counts by expert and by token, in first_slot and first_of_token.
  void decide_fates(const Batch<S>& batch, Routing<S>& routing) {
    const Index experts = routing.experts();
    chosen.assign(at(experts), 0);
    first_slot.assign(at(experts + 1), 0);
    first_of_token.assign(at(routing.tokens() + 1), 0);
    taken_.assign(at(batch.groups() * experts), 0);
    dropped_choices.clear();
    unsent = 0;
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      Choice<S>& c = routing.choices[i];
      if (c.fate == Fate::unsent) {
        ++unsent;
        continue;
      }
      const Index group = batch.group_of(c.token);
      Index& taken = taken_[at(group * experts + c.expert)];
      ++chosen[at(c.expert)];
      c.fate = taken < capacity_of_group[at(group)] ? Fate::sent : Fate::dropped;
      if (c.fate == Fate::dropped) {
        dropped_choices.push_back(static_cast<Index>(i));
        continue;
      }
      ++taken;
      ++first_slot[at(c.expert + 1)];
      ++first_of_token[at(c.token + 1)];
    }
  }

  void fill_slots(const Routing<S>& routing) {
    for (std::size_t e = 1; e < first_slot.size(); ++e) first_slot[e] += first_slot[e - 1];
    for (std::size_t t = 1; t < first_of_token.size(); ++t) first_of_token[t] += first_of_token[t - 1];
    const std::size_t slot_count = at(first_slot.back());
    token.resize(slot_count);
    choice.resize(slot_count);
    weight.resize(slot_count);
    token_slots.resize(slot_count);
    choices_ = routing.choices.size();
    next_slot_.assign(first_slot.begin(), first_slot.end() - 1);
    next_of_token_.assign(first_of_token.begin(), first_of_token.end() - 1);
    for (std::size_t i = 0; i < routing.choices.size(); ++i) {
      const Choice<S>& c = routing.choices[i];
      if (c.fate != Fate::sent) continue;
      const Index slot = next_slot_[at(c.expert)]++;
      token[at(slot)] = c.token;
      choice[at(slot)] = static_cast<Index>(i);
      weight[at(slot)] = c.weight;
      token_slots[at(next_of_token_[at(c.token)]++)] = slot;
    }
  }

  void renormalize(S floor) {
    sum_.assign(at(tokens()), S(0));
    at_floor_.assign(at(tokens()), 0);
    for (Index t = 0; t < tokens(); ++t) {
      S& sum = sum_[at(t)];
      for (Index i = first_of_token[at(t)]; i < first_of_token[at(t + 1)]; ++i) sum += weight[at(token_slots[at(i)])];
      at_floor_[at(t)] = sum < floor ? 1 : 0;
      if (sum < floor) sum = floor;
      for (Index i = first_of_token[at(t)]; i < first_of_token[at(t + 1)]; ++i) weight[at(token_slots[at(i)])] /= sum;
    }
  }

  std::vector<Index> taken_, next_slot_, next_of_token_;  // kept for the next build
  std::vector<S> sum_;                                    // of a token's weights before the division
  std::vector<unsigned char> at_floor_;
  std::size_t choices_ = 0;
  bool renormalized_ = false;
};

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE struct Plan<float>;
MOE_DETAIL_INSTANCE struct Plan<double>;
#endif

MOE_NAMESPACE_END
