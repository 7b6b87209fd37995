// What one forward pass of a layer leaves for its backward pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/hand_down.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/plan.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Columns first, ..., first + count - 1 of one expert's stage, or rows of all its stages.
struct ExpertTask {
  std::size_t expert;
  Index first, count;
};

}  // namespace detail

/// All that a forward pass saved, and the workspace of both passes; the caller's, one for each thread that uses the
/// layer. One layer after the other may use it, each with its backward pass before the next one's forward pass; a
/// backward pass of another layer than the last forward pass's is refused, a copy of it too. Not detected: a pass of
/// the same layer over other tokens, and a `recompute_in` whose memory has gone. Reused for as many tokens it allocates
/// nothing, once it has seen each expert's largest share of them, in inference by rows and by stages
/// (moe/layer/run_experts.hpp), and each thread has its room (there, and moe/kernel/scratch.hpp). `Layer::Tape` is the
/// name to use.
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
  detail::OuterTokens outer;    // of a layer that is an expert
  Index width = -1;             ///< D of the recorded pass; -1: none.
  const void* layer = nullptr;  ///< Whose pass it was: where that one's experts lie, which moves with it.

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

  bool is_valid(Index token) const { return routing.is_valid(token); }

  /// The generator, where there is one: with the model and the optimiser, all that a training run needs to go on.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    if ((self.random.has_value() && ...)) visit_part_buffers("random", f, *self.random...);
  }

  /// The rows of a layer that is an expert, with what the outer layer says of them.
  Batch<S> inner_batch(const ConstMatrixRef<S>& x_TD) const {
    const auto rows = static_cast<std::size_t>(x_TD.rows());
    Batch<S> batch = x_TD;
    if (outer.ids.size() == rows) batch.ids = outer.ids;
    if (outer.numbers.size() == rows) batch.numbers = outer.numbers;
    return batch;
  }

  /// The zero gradient of the routing; dweight_N holds that of the slots' weights.
  /// Throws std::invalid_argument unless the gradients are of this pass's slots.
  void begin_backward(ConstMatrixRef<S> dy, Eigen::Ref<const Vector<S>> dweight) {
    require(dy.rows() == y_NO.rows() && dy.cols() == y_NO.cols() && dweight.size() == plan.slots(),
            "Layer::backward: gradients of ", dy.rows(), " x ", dy.cols(), " outputs and ", dweight.size(),
            " weights, the pass has ", y_NO.rows(), " slots of width ", y_NO.cols());
    drouting.reset_gradient(routing);
    if (dweight.data() != dweight_N.data()) dweight_N = dweight;
  }
};

namespace detail {

/// Throws std::invalid_argument unless the pass on the tape was this layer's; both are told by their experts' place.
inline void require_own_tape(std::string_view what, const void* recorded, const void* own) {
  require(recorded == own, what, ": the last forward pass on this tape was another layer's (a copy is another one); ",
          "give each layer a tape of its own, or run its forward pass again");
}

/// Throws std::invalid_argument unless the batch has the padding of the pass, but for tokens that the pass `refused`.
template <class S, class Pass>
void require_same_padding(std::string_view what, const Batch<S>& batch, const Pass& pass, bool refused = false) {
  for (Index t = 0; t < batch.tokens(); ++t)
    require(batch.is_valid(t) == pass.is_valid(t) || (refused && batch.is_valid(t)), what, ": token ",
            batch.number_of(t),
            batch.is_valid(t) ? " is no padding, in the forward pass it was"
                              : " is padding, in the forward pass it was none");
}

}  // namespace detail

MOE_NAMESPACE_END
