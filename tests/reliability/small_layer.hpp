// A small layer to maltreat, and its passes.
#pragma once

#include <cstdint>
#include <random>

#include "moe/moe.hpp"
#include "support/matrices.hpp"

namespace moe::reliability {

inline constexpr Index experts = 4, width = 3, hidden = 5;

template <class S = float>
Router<S> small_router() {
  std::mt19937_64 generator{1};
  return Router<S>::random(experts, width, generator);
}

template <class X>
std::vector<X> small_experts() {
  std::mt19937_64 generator{2};
  return make_experts<X>(experts, width, hidden, generator, ExpertOptions{.bias = true});
}

/// Top-2 of four experts, with two losses.
inline auto small_layer(const Capacity& capacity = Capacity::unlimited()) {
  return Layer{small_router(), TopK{.k = 2}, small_experts<SwiGlu<float>>(),
               Losses{ImportanceLoss{.coefficient = 0.1}, RouterZLoss{.coefficient = 0.1}}, capacity};
}

using SmallLayer = decltype(small_layer());

/// All tensors that a pass leaves on a tape for the next one to write over.
template <class Tape>
void poison_tape(Tape& tape) {
  support::poison(tape.routing.logits_TE);
  support::poison(tape.routing.probabilities_TE);
  for (auto* matrix : {&tape.x_ND, &tape.y_NO, &tape.dx_ND, &tape.dy_NO}) support::poison(*matrix);
  support::poison(tape.dweight_N);
  support::poison(tape.drouting.logits_TE);
  support::poison(tape.drouting.probabilities_TE);
}

}  // namespace moe::reliability
