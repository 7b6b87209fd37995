// One gate on given logits, without a layer around it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "moe/core.hpp"
#include "moe/random.hpp"
#include "moe/routing.hpp"

namespace moe::gating {

/// The batch's decision; its tokens are x_TD, its logits logits_TE.
template <class G, class S>
Routing<S> route(const G& gate, const Batch<S>& batch, const Matrix<S>& logits_TE, Random* random = nullptr) {
  Routing<S> routing;
  routing.reset(batch, logits_TE.cols());
  routing.logits_TE = logits_TE;
  gate.route(batch, routing, random);
  return routing;
}

/// The same for tokens of which nothing but the logits is known.
template <class G, class S>
Routing<S> route(const G& gate, const Matrix<S>& logits_TE, std::span<const std::uint8_t> valid = {},
                 Index group_size = 0, Random* random = nullptr) {
  const Matrix<S> x_TD = Matrix<S>::Zero(logits_TE.rows(), 1);
  Batch<S> batch = x_TD;
  batch.valid = valid;
  batch.group_size = group_size;
  return route(gate, batch, logits_TE, random);
}

/// The routing's gradient for gradients of the choices' weights.
template <class G, class S>
Routing<S> backward(const G& gate, const Routing<S>& routing, const std::vector<S>& dweights) {
  Routing<S> drouting;
  drouting.reset_gradient(routing);
  for (std::size_t i = 0; i < dweights.size(); ++i) drouting.choices[i].weight = dweights[i];
  gate.backward(routing, drouting);
  return drouting;
}

template <class S>
std::vector<Index> tokens_of(const Routing<S>& routing) {
  std::vector<Index> tokens;
  for (const Choice<S>& choice : routing.choices) tokens.push_back(choice.token);
  return tokens;
}

template <class S>
std::vector<Index> experts_of(const Routing<S>& routing) {
  std::vector<Index> experts;
  for (const Choice<S>& choice : routing.choices) experts.push_back(choice.expert);
  return experts;
}

template <class S>
std::vector<S> weights_of(const Routing<S>& routing) {
  std::vector<S> weights;
  for (const Choice<S>& choice : routing.choices) weights.push_back(choice.weight);
  return weights;
}

}  // namespace moe::gating
