// The loss of telling classes, and its gradient.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "moe/core.hpp"
#include "moe/executor.hpp"

namespace example {

using moe::Index;

/// The mean of -log p(label), in nats; the logits become log-probabilities.
template <class S>
double cross_entropy(moe::Matrix<S>& logits_TV, const std::vector<std::int64_t>& label) {
  moe::detail::require(static_cast<Index>(label.size()) == logits_TV.rows(), "cross_entropy: ", label.size(),
                       " labels for ", logits_TV.rows(), " tokens");
  double nats = 0;
  for (Index t = 0; t < logits_TV.rows(); ++t) {
    auto row = logits_TV.row(t).array();
    row -= row.maxCoeff();
    row -= std::log(row.exp().sum());
    nats -= static_cast<double>(row(label[static_cast<std::size_t>(t)]));
  }
  return nats / static_cast<double>(label.size());
}

/// From the log-probabilities that it left, the gradient of that mean in their place.
template <class S>
void cross_entropy_gradient(moe::Matrix<S>& logp_TV, const std::vector<std::int64_t>& label) {
  logp_TV = logp_TV.array().exp();
  for (Index t = 0; t < logp_TV.rows(); ++t) logp_TV(t, label[static_cast<std::size_t>(t)]) -= S(1);
  logp_TV /= static_cast<S>(logp_TV.rows());
}

}  // namespace example
