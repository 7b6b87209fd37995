// What the passes of all layers refuse, with the numbers, before anything is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include "moe/concepts.hpp"
#include "moe/core/check_gradient.hpp"
#include "moe/core/core.hpp"
#include "moe/layer/tape.hpp"
#include "moe/routing/batch.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A layer that was made by its default constructor holds no experts.
inline void require_filled(std::string_view layer, std::size_t experts) {
  require(experts > 0, layer, ": it has no experts; one that was made without arguments holds nothing until another ",
          layer, " is assigned to it");
}

/// Rows to write into: one for each token, so many columns, and not where the tokens lie.
template <class S>
void require_output(std::string_view what, const std::type_identity_t<ConstMatrixRef<S>>& rows, const Batch<S>& batch,
                    Index width) {
  require_shape(what, rows, batch.tokens(), width);
  require(!overlap<S>(rows, batch.x_TD), what, " overlaps the tokens in memory");
}

/// The last forward pass on the tape was this layer's; both are told by where their experts lie.
inline void require_own_tape(std::string_view what, const void* recorded, const void* own) {
  require(recorded == own, what, ": the last forward pass on this tape was another layer's (a copy is another one); ",
          "give each layer a tape of its own, or run its forward pass again");
}

/// The batch has the padding of the pass, except for tokens that the pass `refused`.
template <class S>
void require_same_padding(std::string_view what, const Batch<S>& batch, const std::vector<std::uint8_t>& valid_T,
                          bool refused) {
  for (Index t = 0; t < batch.tokens(); ++t) {
    const bool was_valid = valid_T[static_cast<std::size_t>(t)] != 0;
    require(batch.is_valid(t) == was_valid || (refused && batch.is_valid(t)), what, ": token ", batch.number_of(t),
            batch.is_valid(t) ? " is no padding, in the forward pass it was"
                              : " is padding, in the forward pass it was none");
  }
}

/// The tape holds a whole pass of this batch by the layer whose experts lie at `own`.
template <class S>
void require_pass(std::string_view what, const Batch<S>& batch, const PassTape<S>& tape,
                  const std::vector<std::uint8_t>& valid_T, Index group_size, const void* own, bool refused = false) {
  const auto tokens = static_cast<Index>(valid_T.size());
  require(tape.width >= 0, what, ": the tape holds no forward pass");
  require(tape.width == batch.x_TD.cols() && tokens == batch.tokens(), what, ": the tape is of ", tokens,
          " tokens of width ", tape.width, ", the batch has ", batch.tokens(), " of width ", batch.x_TD.cols());
  require_own_tape(what, tape.layer, own);
  require(has_finite_bits(tape.loss_scale), what, ": tape.loss_scale is ", tape.loss_scale, ", it must be finite");
  require(group_size == batch.group_size, what, ": group_size is ", batch.group_size, ", in the forward pass it was ",
          group_size);
  require_same_padding(what, batch, valid_T, refused);
}

/// The tape has what the backward passes of so many experts read.
template <class S, class ExpertTape>
void require_kept(std::string_view what, const ExpertsTape<S, ExpertTape>& tape, std::size_t experts) {
  require(tape.kept_activations, what,
          tape.ran_experts ? ": keep_activations was false in the forward pass"
                           : ": others took the place of the layer's experts in the forward pass");
  require(tape.recompute_in == tape.computed_in, what, ": recompute_in is not what it was in the forward pass");
  require(tape.experts.size() == experts, what, ": the tape is of ", tape.experts.size(), " experts, the layer has ",
          experts);
}

/// One of the same shapes for each expert; `what` is called "Layer: the gradient's expert", say.
template <class X>
void check_gradients_of_experts(std::string_view what, const std::vector<X>& experts, const std::vector<X>& gradients) {
  require(gradients.size() == experts.size(), what, "s are ", gradients.size(), ", the layer has ", experts.size(),
          " experts");
  for (std::size_t e = 0; e < experts.size(); ++e) check_gradient(what, experts[e], gradients[e]);
}

}  // namespace detail

MOE_NAMESPACE_END
