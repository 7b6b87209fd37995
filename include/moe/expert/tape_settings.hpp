// What a layer sets in the tapes of its experts before a pass: where draws begin, whether a backward pass follows,
// which tokens the rows are, how losses are scaled. A tape without such a member is left as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/plan.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Which tokens of the outer layer the rows of an inner layer are.
struct OuterTokens {
  std::vector<std::int64_t> ids;  // empty: the outer batch has none
  std::vector<Index> numbers;     // in the outermost batch
};

/// The tape of an expert that draws.
template <class ExpertTape>
concept DrawingTape = requires(ExpertTape tape) {
  tape.random.emplace(std::uint64_t{});
};

/// The tape of an expert that is a layer.
template <class ExpertTape>
concept LayersTape = requires(ExpertTape tape) {
  requires std::is_same_v<decltype(tape.outer), OuterTokens>;
};

/// The tape of an expert that draws gets a seed from `random`; without one it is emptied: an evaluation pass.
template <class ExpertTape>
void set_seed(Random* random, ExpertTape& tape) {
  if constexpr (DrawingTape<ExpertTape>) {
    if (random != nullptr)
      tape.random.emplace(random->seed());
    else
      tape.random.reset();
  }
}

/// Whether the pass keeps what a backward pass reads.
template <class ExpertTape>
void set_keep_activations(bool keep_activations, ExpertTape& tape) {
  if constexpr (requires { tape.keep_activations = keep_activations; }) tape.keep_activations = keep_activations;
}

/// The scale of the losses of an expert that has some.
template <class S, class ExpertTape>
void set_loss_scale(S loss_scale, ExpertTape& tape) {
  if constexpr (requires { tape.loss_scale = loss_scale; }) tape.loss_scale = loss_scale;
}

/// The tokens of one expert's slots.
template <class S>
void list_tokens(const Batch<S>& batch, const Plan<S>& plan, Index expert, OuterTokens& tokens) {
  tokens.ids.clear();
  tokens.numbers.clear();
  for (Index slot = plan.begin_of(expert), end = slot + plan.rows_of(expert); slot < end; ++slot) {
    const Index token = plan.token[static_cast<std::size_t>(slot)];
    if (!batch.ids.empty()) tokens.ids.push_back(batch.ids[static_cast<std::size_t>(token)]);
    tokens.numbers.push_back(batch.number_of(token));
  }
}

/// The tapes of experts that are layers get their rows' tokens.
template <class S, class ExpertTape>
void set_tokens(const Batch<S>& batch, const Plan<S>& plan, std::vector<ExpertTape>& tapes) {
  if constexpr (LayersTape<ExpertTape>)
    for (Index e = 0; e < plan.experts(); ++e) list_tokens(batch, plan, e, tapes[static_cast<std::size_t>(e)].outer);
}

}  // namespace detail

MOE_NAMESPACE_END
