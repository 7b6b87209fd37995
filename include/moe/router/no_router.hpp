// No projection at all: for gates that choose without looking at the tokens' content, such as hash layers.
#pragma once

#include "moe/core/core.hpp"
#include "moe/core/executor_ref.hpp"
#include "moe/core/random.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// All logits are 0; nothing is learned.
template <class S>
struct NoRouter {
  static_assert(detail::ComputesIn<S>::is_known);
  using Scalar = S;

  Index expert_count;

  struct Tape {};

  Index experts() const { return expert_count; }
  Index width() const { return 0; }

  void check() const { require(expert_count > 0, "NoRouter: ", expert_count, " experts, there must be 1 or more"); }

  void forward(const Batch<S>&, Routing<S>& routing, Tape&, Random*, detail::ExecutorRef = Serial{}) const {
    routing.logits_TE.setZero();
  }

  void backward(const Batch<S>&, const Routing<S>&, Routing<S>&, Tape&, MatrixRef<S>, NoRouter&,
                detail::ExecutorRef = Serial{}) const {}

  template <class F, class... Self>
  static void visit_parameters(F&&, Self&...) {}
};

MOE_NAMESPACE_END
