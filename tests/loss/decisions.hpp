// Decisions to compute losses of, and the gradient of one loss.
#pragma once

#include <vector>

#include "moe/core/core.hpp"
#include "moe/routing/routing.hpp"

namespace moe::loss {

/// Tokens are the rows of the probabilities, whose logarithms are the logits.
inline Routing<double> decision(const Matrix<double>& probabilities_TE, const std::vector<Choice<double>>& choices) {
  const Matrix<double> x_TD = Matrix<double>::Zero(probabilities_TE.rows(), 1);
  Routing<double> routing;
  routing.reset(x_TD, probabilities_TE.cols());
  routing.logits_TE = probabilities_TE.array().log();
  routing.probabilities_TE = probabilities_TE;
  routing.choices = choices;
  return routing;
}

inline void mark_as_padding(Routing<double>& routing, Index token) {
  routing.valid_T[static_cast<std::size_t>(token)] = 0;
  --routing.valid_tokens;
}

template <class L>
Routing<double> gradient_of(const L& loss, const Routing<double>& routing, double scale = 1) {
  Routing<double> drouting;
  drouting.reset_gradient(routing);
  loss.backward(routing, scale, drouting);
  return drouting;
}

}  // namespace moe::loss
