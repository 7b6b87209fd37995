// What a layer tells the tapes of its experts before a pass: where draws begin, whether a backward pass follows, which
// tokens the rows are, how losses are scaled. A tape is told what it has a member for.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// What a layer tells a layer inside it of the rows that it gives it.
struct OuterTokens {
  std::vector<std::int64_t> ids;  // empty: the outer batch has none
  std::vector<Index> numbers;     // in the outermost batch
};

/// Gives the tape of an expert that draws a generator of its own.
template <class ExpertTape>
void hand_down(Random* random, ExpertTape& tape) {
  if constexpr (requires { tape.random.emplace(std::uint64_t{}); }) {
    if (random != nullptr)
      tape.random.emplace(random->seed());
    else
      tape.random.reset();
  }
}

/// Tells the tape of an expert whether a backward pass follows, if it asks.
template <class ExpertTape>
void hand_down_keeping(bool keep_activations, ExpertTape& tape) {
  if constexpr (requires { tape.keep_activations = keep_activations; }) tape.keep_activations = keep_activations;
}

/// Tells the tape of an expert that is a layer which tokens its rows are.
template <class S, class ExpertTape>
void hand_down_tokens(const Batch<S>& batch, const Plan<S>& plan, Index expert, ExpertTape& tape) {
  if constexpr (requires { requires std::is_same_v<decltype(tape.outer), OuterTokens>; }) {
    tape.outer.ids.clear();
    tape.outer.numbers.clear();
    for (Index slot = plan.begin_of(expert), end = slot + plan.rows_of(expert); slot < end; ++slot) {
      const Index token = plan.token[static_cast<std::size_t>(slot)];
      if (!batch.ids.empty()) tape.outer.ids.push_back(batch.ids[static_cast<std::size_t>(token)]);
      tape.outer.numbers.push_back(batch.number_of(token));
    }
  }
}

/// Gives the tape of an expert that has losses their scale.
template <class S, class ExpertTape>
void hand_down_scale(S loss_scale, ExpertTape& tape) {
  if constexpr (requires { tape.loss_scale = loss_scale; }) tape.loss_scale = loss_scale;
}

}  // namespace detail

MOE_NAMESPACE_END
