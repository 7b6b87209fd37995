// What one forward pass of a layer leaves for its backward pass.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/core/random.hpp"
#include "moe/expert/tape_settings.hpp"
#include "moe/layer/expert_tasks.hpp"
#include "moe/routing/batch.hpp"
#include "moe/routing/plan.hpp"
#include "moe/routing/routing.hpp"

MOE_NAMESPACE_BEGIN

/// What the tapes of all layers have in common. `SomeLayer::Tape` is the name to use.
///
/// A tape is all that a forward pass saved, and the workspace of both passes; the caller's, one for each thread that
/// uses the layer. One layer after the other may use it, each with its backward pass before the next one's forward
/// pass; a backward pass of another layer than the last forward pass's is refused, a copy of it too. Not detected: a
/// pass of the same layer over other tokens, and a `recompute_in` whose memory has gone.
///
/// Reused for as many tokens it allocates nothing, once it has seen each expert's largest share of them, in inference
/// by rows and by stages (moe/layer/run_experts.hpp), and once each thread has its scratch (moe/kernel/scratch.hpp).
template <class S>
struct PassTape {
  using Scalar = S;

  // Set by the caller.
  std::optional<Random> random;  ///< Training; none: evaluation, without noise and with the inference capacity.
  S loss_scale = 1;              ///< Of the auxiliary losses' gradient: 1 / n to average over n micro-batches.
  /// false: for inference. Experts, whose tapes are told, write less to memory; rows of small ones stay in the threads'
  /// caches, and x_ND and the experts' tapes stay empty. A backward pass is refused.
  bool keep_activations = true;

  Buffer<Matrix<S>> x_ND, y_NO;    ///< Input and output of every slot, the slots of one expert together.
  Buffer<Matrix<S>> dx_ND, dy_NO;  ///< Their gradients, after a backward pass.

  // Of the recorded pass.
  Index width = -1;               ///< D; -1: there is none.
  Index routed_width = -1;        ///< D of the pass whose slots are decided; -1: none are.
  bool ran_experts = false;       ///< The layer's own experts made y_NO.
  bool kept_activations = false;  ///< And kept what a backward pass reads.
  bool sent_back = false;         ///< The gradients of its slots are there, and have not gone on to the router yet.
  const void* layer = nullptr;    ///< Whose pass it was: where that one's experts lie, which moves with it.

  detail::ExpertTasks tasks;
  detail::OuterTokens outer;  // of a layer that is an expert

  PassTape() = default;                                            ///< Evaluation.
  explicit PassTape(std::uint64_t seed) : random(Random(seed)) {}  ///< Training.
  explicit PassTape(Random draws) : random(std::move(draws)) {}    ///< Training, with draws of the caller's.

  /// The generator; null in an evaluation pass.
  Random* draws() { return random ? &*random : nullptr; }

  /// There is no pass any more.
  void forget() {
    width = routed_width = -1;
    ran_experts = kept_activations = sent_back = false;
  }

  /// The rows of a layer that is an expert, with what the outer layer says of them.
  Batch<S> inner_batch(const ConstMatrixRef<S>& x_TD) const {
    const auto rows = static_cast<std::size_t>(x_TD.rows());
    Batch<S> batch = x_TD;
    if (outer.ids.size() == rows) batch.ids = outer.ids;
    if (outer.numbers.size() == rows) batch.numbers = outer.numbers;
    return batch;
  }

  /// The generator, where there is one: with the model and the optimiser, all that a training run needs to go on.
  template <class F, class... Self>
  static void visit_buffers(F&& f, Self&... self) {
    if ((self.random.has_value() && ...)) visit_part_buffers("random", f, *self.random...);
  }
};

/// The same with the experts' tapes.
template <class S, class ExpertTape>
struct ExpertsTape : PassTape<S> {
  using PassTape<S>::PassTape;

  std::vector<ExpertTape> experts;

  /// Set by the caller before a forward pass: the hidden activations are kept neither here nor there. Both passes
  /// compute them in these tapes, which all layers of a model may share, one pass at a time; backward computes them
  /// again, from the same draws, to the same bits. Not for experts that have losses of their own, as layers do; the
  /// expert of a Shared keeps its activations.
  std::vector<ExpertTape>* recompute_in = nullptr;
  std::vector<ExpertTape>* computed_in = nullptr;  ///< By the recorded pass.

  /// The tapes that the experts' passes work with.
  std::vector<ExpertTape>& working_tapes() { return recompute_in != nullptr ? *recompute_in : experts; }
};

/// The tape of a Layer.
template <class S, class RouterTape, class ExpertTape>
struct LayerTape : ExpertsTape<S, ExpertTape> {
  using ExpertsTape<S, ExpertTape>::ExpertsTape;

  Routing<S> routing;
  Plan<S> plan;
  RouterTape router;

  Routing<S> drouting;  ///< Gradients, after a backward pass.
  Buffer<Vector<S>> dweight_N;

  bool is_valid(Index token) const { return routing.is_valid(token); }

  /// T: 1 for what the pass treats as a token, 0 for padding; and how many tokens that are.
  const std::vector<std::uint8_t>& valid_T() const { return routing.valid_T; }
  Index valid_tokens() const { return routing.valid_tokens; }

  void begin(const Batch<S>& batch, Index expert_count) {
    this->forget();
    if (routing.tokens() != batch.tokens() || routing.experts() != expert_count) {
      // Eigen's matrices cannot be destroyed after a change of size that found no memory; empty ones can.
      routing = Routing<S>();
      drouting = Routing<S>();
      router = RouterTape();
    }
    routing.reset(batch, expert_count);
    this->y_NO.resize(0, 0);
  }

  /// The zero gradient of the routing; dweight_N holds that of the slots' weights.
  /// Throws std::invalid_argument unless the gradients are of this pass's slots.
  void begin_backward(ConstMatrixRef<S> dy, Eigen::Ref<const Vector<S>> dweight) {
    require(dy.rows() == this->y_NO.rows() && dy.cols() == this->y_NO.cols() && dweight.size() == plan.slots(),
            "Layer::backward: gradients of ", dy.rows(), " x ", dy.cols(), " outputs and ", dweight.size(),
            " weights, the pass has ", this->y_NO.rows(), " slots of width ", this->y_NO.cols());
    drouting.reset_gradient(routing);
    this->sent_back = true;
    if (dweight.data() == dweight_N.data()) return;
    dweight_N.resize(dweight.size());
    std::copy_n(dweight.data(), dweight.size(), dweight_N.data());
  }
};

MOE_NAMESPACE_END
