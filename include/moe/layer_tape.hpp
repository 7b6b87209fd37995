// What one forward pass of a layer leaves for its backward pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "moe/batch.hpp"
#include "moe/core.hpp"
#include "moe/kernel/buffer.hpp"
#include "moe/plan.hpp"
#include "moe/random.hpp"
#include "moe/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Columns first, ..., first + count - 1 of one expert's stage, or rows of all its stages.
struct ExpertTask {
  std::size_t expert;
  Index first, count;
};

}  // namespace detail

/// All that a forward pass saved, and the workspace of both passes; the caller's, one for each thread that uses the
/// layer. Reused for as many tokens it allocates nothing, once it has seen each expert's largest share of them, in
/// inference by rows and by stages (moe/layer_experts.hpp), and each thread has its room (there, and
/// moe/kernel/scratch.hpp). `Layer::Tape` is the name to use.
template <class S, class RouterTape, class ExpertTape>
struct LayerTape {
  using Scalar = S;

  Routing<S> routing;
  Plan<S> plan;
  Buffer<Matrix<S>> x_ND, y_NO;  ///< Input and output of every slot.
  std::optional<Random> random;  ///< Training; none: evaluation, without noise and with the inference capacity.
  S loss_scale = 1;              ///< Of the auxiliary losses' gradient: 1 / n to average over n micro-batches.
  /// false, set by the caller: for inference. Experts, whose tapes the layer tells, write less to memory; rows of small
  /// ones stay in the threads' caches, and neither x_ND nor the experts' tapes get any. A backward pass is refused.
  bool keep_activations = true;

  Routing<S> drouting;  ///< Gradients, after a backward pass.
  Buffer<Matrix<S>> dx_ND, dy_NO;
  Buffer<Vector<S>> dweight_N;

  RouterTape router;
  std::vector<ExpertTape> experts;

  /// Set by the caller before a forward pass: the hidden activations are not kept here. Both passes use this room,
  /// which all layers of a model may share, one pass at a time; backward computes them again, from the same draws, to
  /// the same bits. Not for experts that have losses of their own, as layers do; the expert of a Shared keeps its
  /// activations.
  std::vector<ExpertTape>* recompute_in = nullptr;
  std::vector<ExpertTape>* computed_in = nullptr;  ///< By the recorded pass.
  bool kept_activations = false;                   ///< What keep_activations was in the recorded pass.

  std::vector<detail::ExpertTask> tasks;
  Index width = -1;  ///< D of the recorded pass; -1: none.

  LayerTape() = default;                                            ///< Evaluation.
  explicit LayerTape(std::uint64_t seed) : random(Random(seed)) {}  ///< Training.
  explicit LayerTape(Random draws) : random(std::move(draws)) {}    ///< Training, with draws of the caller's.

  void begin(const Batch<S>& batch, Index expert_count) {
    width = -1;
    if (routing.tokens() != batch.tokens() || routing.experts() != expert_count) {
      // Eigen's matrices cannot be destroyed after a change of size that found no memory; empty ones can.
      routing = Routing<S>();
      drouting = Routing<S>();
      router = RouterTape();
    }
    routing.reset(batch, expert_count);
  }

  /// The zero gradient of the routing; dweight_N holds that of the slots' weights.
  /// Throws std::invalid_argument unless the gradients are of this pass's slots.
  void begin_backward(ConstMatrixRef<S> dy, Eigen::Ref<const Vector<S>> dweight) {
    detail::require(dy.rows() == y_NO.rows() && dy.cols() == y_NO.cols() && dweight.size() == plan.slots(),
                    "Layer::backward: gradients of ", dy.rows(), " x ", dy.cols(), " outputs and ", dweight.size(),
                    " weights, the pass has ", y_NO.rows(), " slots of width ", y_NO.cols());
    drouting.reset_gradient(routing);
    if (dweight.data() != dweight_N.data()) dweight_N = dweight;
  }
};

namespace detail {

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

/// Gives the tape of an expert that has losses their scale.
template <class S, class ExpertTape>
void hand_down_scale(S loss_scale, ExpertTape& tape) {
  if constexpr (requires { tape.loss_scale = loss_scale; }) tape.loss_scale = loss_scale;
}

}  // namespace detail

MOE_NAMESPACE_END
