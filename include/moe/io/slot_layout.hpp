// How the slots of a family lay the parts of a layer into tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/io/family.hpp"
#include "moe/io/layer_content.hpp"
#include "moe/io/stored_layer.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// What a part is called in messages.
inline std::string_view part_text(io::Part part) {
  static constexpr std::string_view texts[] = {"router",
                                               "bias of the router",
                                               "selection bias",
                                               "gate projection of the experts",
                                               "up projection of the experts",
                                               "down projection of the experts",
                                               "bias of the gate projection",
                                               "bias of the up projection",
                                               "bias of the down projection",
                                               "gate projection of a shared expert",
                                               "up projection of a shared expert",
                                               "down projection of a shared expert",
                                               "gate of a shared expert",
                                               "bias of the output"};
  static_assert(std::size(texts) == io::number_of_parts);
  return texts[static_cast<std::size_t>(part)];
}

/// The slots of one tensor, or of one for each expert.
struct SlotGroup {
  std::vector<const io::Slot*> slots;
  const io::Slot& front() const { return *slots.front(); }
  bool is_per_expert() const { return front().tensor.find("{e}") != std::string::npos; }
};

/// How many parts lie in the slot's tensor.
inline Index factor(const io::Slot& slot) { return slot.outputs == io::Outputs::all ? 1 : 2; }

// Output i of the slot's part is output first_output + i output_step of the tensor.

inline Index first_output(const io::Slot& slot, Index outputs) {
  return slot.outputs == io::Outputs::odd ? 1 : slot.outputs == io::Outputs::second_half ? outputs : 0;
}
inline Index output_step(const io::Slot& slot) {
  return slot.outputs == io::Outputs::even || slot.outputs == io::Outputs::odd ? 2 : 1;
}
inline bool inputs_first(const io::Slot& slot) {
  return io::StoredLayer::is_vector(slot.part) || slot.order == io::Order::inputs_first;
}

/// The outputs and inputs of a part's weight, of one expert or of the layer.
struct PartSize {
  Index outputs, inputs;

  static PartSize of(io::Part part, const LayerContent& content) {
    using io::Part;
    const Index D = content.width, F = content.hidden, Fs = content.shared_hidden;
    switch (part) {
      case Part::router:
        return {content.experts, D};
      case Part::router_bias:
      case Part::selection_bias:
        return {content.experts, 1};
      case Part::gate:
      case Part::up:
        return {F, D};
      case Part::down:
        return {D, F};
      case Part::gate_bias:
      case Part::up_bias:
        return {F, 1};
      case Part::down_bias:
      case Part::output_bias:
        return {D, 1};
      case Part::shared_gate:
      case Part::shared_up:
        return {Fs, D};
      case Part::shared_down:
        return {D, Fs};
      case Part::shared_mix:
        return {1, D};
    }
    return {0, 0};
  }
};

/// What a tensor holds of one expert, or of the layer, as rows and columns, and of how many.
struct SlotSlice {
  Index outputs = 0, inputs = 0;  // of each part in it
  Index rows = 0, cols = 0;
  Index count = 1;
  bool is_stacked = false;  // all experts in one tensor

  /// (E, rows, cols), (rows, cols), or without rows for a vector.
  std::vector<std::uint64_t> shape(bool is_vector) const {
    std::vector<std::uint64_t> dimensions;
    if (is_stacked) dimensions.push_back(static_cast<std::uint64_t>(count));
    if (!is_vector) dimensions.push_back(static_cast<std::uint64_t>(rows));
    dimensions.push_back(static_cast<std::uint64_t>(cols));
    return dimensions;
  }
};

inline SlotSlice slice_of(const SlotGroup& group, const LayerContent& content) {
  const io::Slot& slot = group.front();
  const PartSize size = PartSize::of(slot.part, content);
  SlotSlice slice{.outputs = size.outputs, .inputs = size.inputs};
  const Index all_outputs = size.outputs * factor(slot);
  slice.rows = inputs_first(slot) ? size.inputs : all_outputs;
  slice.cols = inputs_first(slot) ? all_outputs : size.inputs;
  slice.is_stacked = io::StoredLayer::is_of_expert(slot.part) && !group.is_per_expert();
  slice.count = slice.is_stacked ? content.count(slot.part) : 1;
  return slice;
}

/// The shape with leading dimensions multiplied, or ones put before it, so that it has the rank; 0: as it is.
inline std::vector<std::uint64_t> with_rank(std::vector<std::uint64_t> shape, std::size_t rank) {
  while (rank > 0 && shape.size() > rank) {
    shape[1] *= shape[0];
    shape.erase(shape.begin());
  }
  while (shape.size() < rank) shape.insert(shape.begin(), 1);
  return shape;
}

}  // namespace detail

MOE_NAMESPACE_END
