// The decision: what the router said of every token and expert, and who was chosen, with which weight.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/compiled.hpp"
#include "moe/core/core.hpp"
#include "moe/kernel/long_sums.hpp"
#include "moe/kernel/row_softmax.hpp"
#include "moe/routing/batch.hpp"

MOE_NAMESPACE_BEGIN

/// What became of a choice. A gate may leave some unsent; the plan tells the others apart.
enum class Fate : std::uint8_t {
  sent,     ///< By the gate; once there is a plan: it has a slot.
  unsent,   ///< Chosen, but not sent: GShard's second expert, where chance or a threshold was against it.
  dropped,  ///< Sent, but the expert was full.
};

/// One token and one of its experts. `weight` multiplies the expert's output.
template <class S>
struct Choice {
  Index token, expert;
  S weight;
  int rank = 0;  ///< 0 for the token's first choice, 1 for its second, ... (expert choice: place in the expert's list)
  Fate fate = Fate::sent;
};

namespace detail {

template <class S>
void resize_to_zero(Matrix<S>& matrix, Index rows, Index columns) {
  matrix.resize(rows, columns);
  std::fill_n(matrix.data(), matrix.size(), S(0));
}

}  // namespace detail

/// How noise is distributed.
enum class Distribution : std::uint8_t { normal, gumbel };

/// What a noisy gate drew, for its backward pass and for the load loss; all (T, E), and of no meaning unless `drawn`.
template <class S>
struct Noise {
  bool drawn = false;
  bool weighs = true;  ///< false: it decides who is chosen, the weights come from the logits without it
  Distribution distribution = Distribution::normal;
  Matrix<S> normal_TE;  ///< the draws, of the standard distribution
  Matrix<S> stddev_TE;  ///< what they are multiplied by: the standard deviation of normal ones
  Matrix<S> logits_TE;  ///< logits + normal * stddev: what the gate selects by

  /// Throws std::invalid_argument unless what was drawn has these sizes.
  void check(Index tokens, Index experts) const {
    if (!drawn) return;
    require_shape("Noise: its logits", logits_TE, tokens, experts);
    if (stddev_TE.size() > 0)  // a gate of a user's may have none
      require_shape("Noise: its standard deviation", stddev_TE, tokens, experts);
  }
};

/// Three things with three names: logits (any number), probabilities (the gate's scores of all experts, a softmax as a
/// rule) and weights (of the choices). The gradient of a Routing is a Routing: each field holds the gradient of the
/// same field, choices in the same order.
template <class S>
struct Routing {
  static_assert(detail::ComputesIn<S>::is_known);
  Matrix<S> logits_TE;
  Matrix<S> probabilities_TE;      ///< With noise: of the noisy logits.
  Matrix<S> scores_TE;             ///< Of gates whose scores are no probabilities (ScoredTopK), before any division.
  std::vector<Choice<S>> choices;  ///< In order of priority: the first to come are the last to be dropped.
  Noise<S> noise;
  Index choices_per_token = 0;         ///< k; 0 if it differs from token to token.
  bool selects_largest_logits = true;  ///< Whether the choices are the k largest of `selection_logits_TE()`, so that
                                       ///< noise on these decides alone. A gate that chooses otherwise makes it false.
  std::vector<std::uint8_t> valid_T;   ///< 1: a token, 0: padding.
  Index valid_tokens = 0;
  Index group_size = 0;                   ///< The batch's.
  std::vector<std::size_t> alternatives;  ///< Which gates the VariantGates held that routed, the outermost first.

  /// Memory for gates and losses to compute in; its contents have no meaning.
  struct Workspace {
    Vector<S> token_T, token2_T, expert_E, expert2_E;
    Vector<detail::Wide<S>> sums_E;
    Buffer<Matrix<S>> rows_TD, rows_TE, rows2_TE;
    std::vector<Index> indices;
  } workspace;

  Index tokens() const { return logits_TE.rows(); }
  Index experts() const { return logits_TE.cols(); }
  /// Tokens of one group, padding included: all tokens where the batch has no groups.
  Index rows_of_group() const { return group_size > 0 ? group_size : tokens(); }
  bool is_valid(Index token) const { return valid_T[static_cast<std::size_t>(token)] != 0; }

  /// What the gate compares: the noisy logits where noise was drawn, else the logits.
  const Matrix<S>& selection_logits_TE() const { return noise.drawn ? noise.logits_TE : logits_TE; }
  Matrix<S>& selection_logits_TE() { return noise.drawn ? noise.logits_TE : logits_TE; }

  /// What the probabilities and weights are made of: the noisy logits where noise was drawn and weighs.
  const Matrix<S>& weighing_logits_TE() const { return noise.weighs ? selection_logits_TE() : logits_TE; }
  Matrix<S>& weighing_logits_TE() { return noise.weighs ? selection_logits_TE() : logits_TE; }

  /// The probabilities of a token, or of all: softmax of the logits that weigh. What a gate does that has no
  /// probabilities of another kind.
  void set_probabilities(Index token) {
    detail::softmax_row(weighing_logits_TE().row(token).data(), experts(), probabilities_TE.row(token).data());
  }
  void set_probabilities() {
    for (Index t = 0; t < tokens(); ++t) set_probabilities(t);
  }

  /// Throws std::invalid_argument unless the fields fit together: as many rows and columns, whole groups, and choices
  /// of tokens and experts that there are.
  void check() const {
    check_sizes();
    for (const Choice<S>& c : choices)
      require(c.token >= 0 && c.token < tokens() && c.expert >= 0 && c.expert < experts(),
              "Routing: a choice of expert ", c.expert, " of ", experts(), " for token ", c.token, " of ", tokens());
  }

  /// The same of a routing that gates are to decide: there must be experts, and the tokens be the batch's.
  void check(const Batch<S>& batch) const {
    batch.check();
    check_sizes();
    require(experts() > 0 && tokens() == batch.tokens(), "Routing: of ", tokens(), " tokens and ", experts(),
            " experts, the batch has ", batch.tokens(), " tokens");
    const auto marked = static_cast<Index>(valid_T.size()) - std::count(valid_T.begin(), valid_T.end(), 0);
    require(marked == valid_tokens, "Routing: valid_tokens is ", valid_tokens, ", valid_T marks ", marked);
  }

  /// The same of both, and that the gradient is one of this routing.
  void check_gradient(const Routing& gradient) const {
    check();
    require(this != &gradient, "Routing: the gradient is the routing itself");
    require_shape("Routing: the gradient's logits", gradient.logits_TE, tokens(), experts());
    require_shape("Routing: the gradient's probabilities", gradient.probabilities_TE, tokens(), experts());
    require(gradient.choices.size() == choices.size(), "Routing: the gradient has ", gradient.choices.size(),
            " choices, the routing ", choices.size());
    require(gradient.noise.drawn == noise.drawn && gradient.noise.weighs == noise.weighs,
            "Routing: the gradient is of a routing with other noise");
    gradient.noise.check(tokens(), experts());
  }

  /// An undecided routing of the batch's tokens: sizes and padding are set, no expert is chosen.
  void reset(const Batch<S>& batch, Index expert_count) {
    const Index rows = batch.tokens();
    logits_TE.resize(rows, expert_count);
    probabilities_TE.resize(rows, expert_count);
    group_size = batch.group_size;
    choices.clear();
    alternatives.clear();
    noise.drawn = false;
    noise.weighs = true;
    noise.distribution = Distribution::normal;
    choices_per_token = 0;
    selects_largest_logits = true;
    valid_tokens = batch.mark_tokens(valid_T);
  }

  /// The zero gradient of `decision`.
  void reset_gradient(const Routing& decision) {
    const Index rows = decision.tokens(), columns = decision.experts();
    detail::resize_to_zero(logits_TE, rows, columns);
    detail::resize_to_zero(probabilities_TE, rows, columns);
    choices = decision.choices;
    for (Choice<S>& choice : choices) choice.weight = S(0);
    alternatives.clear();
    noise.drawn = decision.noise.drawn;
    noise.weighs = decision.noise.weighs;
    if (noise.drawn) {
      detail::resize_to_zero(noise.logits_TE, rows, columns);
      detail::resize_to_zero(noise.stddev_TE, rows, columns);
    }
  }

 private:
  void check_sizes() const {
    require_shape("Routing: its probabilities", probabilities_TE, tokens(), experts());
    require(static_cast<Index>(valid_T.size()) == tokens(), "Routing: a padding mask of ", valid_T.size(),
            " entries for ", tokens(), " tokens");
    require(group_size >= 0 && (group_size == 0 || tokens() % group_size == 0), "Routing: ", tokens(),
            " tokens do not divide into groups of ", group_size);
    noise.check(tokens(), experts());
  }
};

namespace detail {

/// Throws std::invalid_argument unless a router's forward pass fits batch and routing.
template <class S>
void check_router_pass(const Batch<S>& batch, const Routing<S>& routing, Index experts, Index width) {
  batch.check();
  require(batch.x_TD.cols() == width, "Router: tokens of width ", batch.x_TD.cols(), ", the router is for width ",
          width);
  require_shape("Router: the logits", routing.logits_TE, batch.tokens(), experts);
}

/// The same of its backward pass.
template <class S>
void check_router_pass(const Batch<S>& batch, const Routing<S>& routing, const Routing<S>& drouting,
                       ConstMatrixRef<S> dx_TD, Index experts, Index width) {
  check_router_pass(batch, routing, experts, width);
  routing.check(batch);
  require_shape("Router: the logits' gradient", drouting.logits_TE, batch.tokens(), experts);
  require_shape("Router: dx", dx_TD, batch.tokens(), width);
}

/// Throws std::invalid_argument unless a gate suits the routing that it is to decide.
template <class G, class S>
void check_route(const G& gate, const Batch<S>& batch, const Routing<S>& routing) {
  routing.check(batch);
  if constexpr (requires { gate.check(routing.experts()); }) gate.check(routing.experts());
}

}  // namespace detail

#ifdef MOE_COMPILED
MOE_DETAIL_INSTANCE struct Routing<float>;
MOE_DETAIL_INSTANCE struct Routing<double>;
#endif

MOE_NAMESPACE_END
