// One gate on given logits, without a layer around it.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/random.hpp"
#include "moe/routing/routing.hpp"

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

/// The sum of the choices' weights times dweights, which stay the same choices in the neighbourhood of the logits, has
/// the gradient that the gate says.
template <class G>
void expect_exact_gradient(const G& gate, const Batch<double>& batch, const Matrix<double>& logits_TE,
                           const std::vector<double>& dweights) {
  const auto value = [&](Index i, double step) {
    Matrix<double> moved = logits_TE;
    moved.data()[i] += step;
    const Routing<double> routing = route(gate, batch, moved);
    double sum = 0;
    for (std::size_t c = 0; c < dweights.size(); ++c) sum += routing.choices[c].weight * dweights[c];
    return sum;
  };
  const Routing<double> slope = backward(gate, route(gate, batch, logits_TE), dweights);
  for (Index i = 0; i < logits_TE.size(); ++i)
    EXPECT_NEAR(slope.logits_TE.data()[i], (value(i, 1e-5) - value(i, -1e-5)) / 2e-5, 1e-8);
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
