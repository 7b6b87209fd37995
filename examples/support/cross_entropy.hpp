// The loss of telling classes, and its gradient.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/executor.hpp"

namespace example {

using moe::Index;

inline Index labelled(const std::vector<std::int64_t>& label) {
  return static_cast<Index>(std::count_if(label.begin(), label.end(), [](std::int64_t l) { return l >= 0; }));
}

/// The mean of -log p(label), in nats, over the tokens that have a label, 0 or more; the logits become
/// log-probabilities.
template <class S>
double cross_entropy(moe::Matrix<S>& logits_TV, const std::vector<std::int64_t>& label) {
  moe::require(static_cast<Index>(label.size()) == logits_TV.rows(), "cross_entropy: ", label.size(), " labels for ",
               logits_TV.rows(), " tokens");
  double nats = 0;
  for (Index t = 0; t < logits_TV.rows(); ++t) {
    auto row = logits_TV.row(t).array();
    row -= row.maxCoeff();
    row -= std::log(row.exp().sum());
    const std::int64_t wanted = label[static_cast<std::size_t>(t)];
    if (wanted >= 0) nats -= static_cast<double>(row(wanted));
  }
  return nats / static_cast<double>((std::max)(labelled(label), Index{1}));
}

/// From the log-probabilities that it left, the gradient of that mean in their place.
template <class S>
void cross_entropy_gradient(moe::Matrix<S>& logp_TV, const std::vector<std::int64_t>& label) {
  logp_TV = logp_TV.array().exp();
  for (Index t = 0; t < logp_TV.rows(); ++t) {
    const std::int64_t wanted = label[static_cast<std::size_t>(t)];
    if (wanted >= 0)
      logp_TV(t, wanted) -= S(1);
    else
      logp_TV.row(t).setZero();
  }
  logp_TV /= static_cast<S>((std::max)(labelled(label), Index{1}));
}

}  // namespace example
