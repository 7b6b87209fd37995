// The tensors in which a family keeps a layer, found by the slots by which it is read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/visit_parts.hpp"
#include "moe/io/family.hpp"
#include "moe/io/layer_content.hpp"
#include "moe/io/number_format.hpp"
#include "moe/io/slot_layout.hpp"
#include "moe/io/stored_layer.hpp"
#include "moe/io/tensor_source.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// A layer on its way into a family.
class LayerTensors {
 public:
  /// `source` is where the layer was read, or null: its formats are kept where none is stated. `is_source` says that
  /// the content is the source's own, so that bytes are copied.
  LayerTensors(LayerContent content, const io::Family& family, std::string name,
               std::shared_ptr<const io::StoredLayer> source, bool is_source, io::NumberFormat format)
      : content_(std::move(content)),
        family_(&family),
        name_(std::move(name)),
        source_(std::move(source)),
        is_source_(is_source),
        format_(format) {}

  /// All of them, in the order of the family's slots. They keep what they need. Throws io::FileError for a part that
  /// the family has no place for, or that it needs and the layer does not have.
  static std::vector<io::TensorSource> of(const std::shared_ptr<const LayerTensors>& layer) {
    std::vector<io::TensorSource> tensors;
    for (const SlotGroup& group : layer->groups())
      for (Index e = 0; e < (group.is_per_expert() ? layer->content_.count(io::Part::up) : 1); ++e)
        layer->add(layer, group, e, tensors);
    return tensors;
  }

 private:
  using Part = io::Part;
  using Slot = io::Slot;

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_io("layer ", in_quotes(name_), " in the family ", in_quotes(family_->name), ": ", parts...);
  }

  std::vector<SlotGroup> groups() const;
  const Slot* chosen(Part part) const;
  bool lies_alike(const Slot& slot) const;
  bool is_called_alike(const Slot& slot) const;
  bool can_copy(const SlotGroup& group) const;
  io::TensorFormat encoded_format(const SlotGroup& group, const std::string& name) const;
  void add(const std::shared_ptr<const LayerTensors>& self, const SlotGroup& group, Index expert,
           std::vector<io::TensorSource>& tensors) const;
  void encode(const SlotGroup& group, Index expert, const io::TensorFormat& format, std::string_view name,
              const io::ByteSink& sink) const;
  Index stored_expert(const SlotGroup& group, Index expert) const;
  /// The bytes of one of the source's experts in each of the file's tensors.
  auto stored_bytes(const SlotGroup& group, Index expert) const {
    const io::StoredWeight& weight = *source_->weight(group.front().part, expert);
    return weight.tensor->bytes(weight.first_row, static_cast<std::uint64_t>(slice_of(group, content_).rows));
  }

  /// Whether `format_` is for it: the matrices of experts. The router and biases are small, and decide much.
  static bool is_formatted(Part part) {
    return part == Part::gate || part == Part::up || part == Part::down || part == Part::shared_gate ||
           part == Part::shared_up || part == Part::shared_down;
  }

  LayerContent content_;
  const io::Family* family_;
  std::string name_;
  std::shared_ptr<const io::StoredLayer> source_;
  bool is_source_;
  io::NumberFormat format_;
  mutable std::map<Index, Index> found_;  // the source's expert that one was; tensors are written one after the other
};

/// Whether the part's numbers lie in the slot's tensor as they do in the source's.
inline bool LayerTensors::lies_alike(const Slot& slot) const {
  if (source_ == nullptr || !source_->has(slot.part)) return false;
  const io::StoredWeight& weight = *source_->weight(slot.part);
  const auto all_outputs = static_cast<std::uint64_t>(weight.outputs * factor(slot));
  const auto inputs = static_cast<std::uint64_t>(weight.inputs);
  const auto count = io::StoredLayer::is_of_expert(slot.part) && source_->experts() - source_->copying_experts() > 1 &&
                             weight.tensor == source_->weight(slot.part, 1)->tensor
                         ? static_cast<std::uint64_t>(source_->experts() - source_->copying_experts())
                         : 1;
  return weight.inputs_first == inputs_first(slot) &&
         std::cmp_equal(weight.first_output, first_output(slot, weight.outputs)) &&
         std::cmp_equal(weight.output_step, output_step(slot)) &&
         weight.tensor->cols() == (weight.inputs_first ? all_outputs : inputs) &&
         weight.tensor->rows() == count * (weight.inputs_first ? inputs : all_outputs);
}

inline bool LayerTensors::is_called_alike(const Slot& slot) const {
  return lies_alike(slot) &&
         source_->weight(slot.part)->tensor->name() == name_within(source_->name(), replaced(slot.tensor, "{e}", "0"));
}

/// The slot that the source has, or the family's first. One with a marker is for numbers that are copied.
inline const LayerTensors::Slot* LayerTensors::chosen(Part part) const {
  const Slot* first = nullptr;
  for (const Slot& slot : family_->slots) {
    if (slot.part != part) continue;
    if (is_called_alike(slot) && (slot.marker.empty() || format_ == io::NumberFormat::as_stored)) return &slot;
    if (first == nullptr && slot.marker.empty()) first = &slot;
  }
  return first;
}

inline std::vector<SlotGroup> LayerTensors::groups() const {
  std::vector<SlotGroup> groups;
  bool any_shared = false;
  for (int p = 0; p < io::number_of_parts; ++p) {
    const auto part = static_cast<Part>(p);
    if (!content_.has(part)) continue;
    any_shared = any_shared || io::StoredLayer::is_shared(part);
    const Slot* const slot = chosen(part);
    if (slot == nullptr) fail("it has no place for a ", part_text(part));
    const auto known = std::ranges::find_if(groups, [&](const SlotGroup& group) {
      return group.front().tensor == slot->tensor && inputs_first(group.front()) == inputs_first(*slot);
    });
    if (known != groups.end())
      known->slots.push_back(slot);
    else
      groups.push_back({{slot}});
  }
  for (const Slot& slot : family_->slots)
    if (!content_.has(slot.part) &&
        (!slot.optional || (any_shared && io::StoredLayer::is_shared(slot.part) && !family_->is_gguf)))
      fail("it needs a ", part_text(slot.part), ", ", in_quotes(slot.tensor), ", which the layer does not have");
  for (const SlotGroup& group : groups)
    if (static_cast<Index>(group.slots.size()) != factor(group.front()))
      fail(in_quotes(group.front().tensor), " holds two parts, of which the layer has one");
  return groups;
}

/// Whether the tensor may be made of the source's bytes, expert by expert.
inline bool LayerTensors::can_copy(const SlotGroup& group) const {
  const SlotSlice own = slice_of(group, content_);
  for (const Slot* slot : group.slots) {
    if (!lies_alike(*slot)) return false;
    const io::StoredWeight& weight = *source_->weight(slot->part);
    if (weight.tensor != source_->weight(group.front().part)->tensor) return false;
    if (weight.outputs != own.outputs || weight.inputs != own.inputs) return false;
    const auto& files = weight.tensor->in_file();
    const bool is_pair = files.front().name != weight.tensor->name();
    if (slot->marker.empty() == is_pair) return false;
    // What is stored in two tensors has their names and shapes.
    if (files.size() > 1 && (family_->is_gguf || !is_called_alike(*slot))) return false;
    for (const io::CheckpointTensor& file : files)
      if (family_->is_gguf ? !io::gguf_number(file.format) : !file.format.dtype) return false;
    const auto stated = is_formatted(slot->part) ? io::format_of(format_) : std::nullopt;
    if (stated && (files.size() > 1 || stated->name != files.front().format.name)) return false;
  }
  return true;
}

inline io::TensorFormat LayerTensors::encoded_format(const SlotGroup& group, const std::string& name) const {
  const Part part = group.front().part;
  const bool is_large = is_formatted(part);
  if (is_large)
    if (const auto stated = io::format_of(format_)) {
      if (!family_->is_gguf && !stated->dtype) fail("safetensors has no type ", stated->name);
      return *stated;
    }
  if (source_ == nullptr || !source_->has(part)) return io::format_of(content_.scalar);
  const io::StoredTensor& stored = *source_->weight(part)->tensor;
  const io::TensorFormat format = stored.in_file().front().format;
  const bool can_hold = family_->is_gguf ? io::gguf_number(format).has_value() : format.dtype.has_value();
  // llama.cpp computes with biases and routers in F32.
  if (!is_large && ((family_->is_gguf && !is_called_alike(group.front())) || format.from_doubles == nullptr))
    return io::format_of(format.dtype == io::DType::F64 ? io::DType::F64 : io::DType::F32);
  if (stored.in_file().size() > 1 || format.from_doubles == nullptr || !can_hold)
    fail("tensor ", in_quotes(name), " would hold numbers that are stored as ", stored.format(),
         ", which cannot be written there; state a format, such as NumberFormat::bf16");
  return format;
}

inline void LayerTensors::add(const std::shared_ptr<const LayerTensors>& self, const SlotGroup& group, Index expert,
                              std::vector<io::TensorSource>& tensors) const {
  const Slot& slot = group.front();
  const SlotSlice own = slice_of(group, content_);
  const std::string name = name_within(name_, replaced(slot.tensor, "{e}", std::to_string(expert)));
  const bool copies = can_copy(group);
  const io::StoredTensor* const stored =
      copies || is_called_alike(slot) ? source_->weight(slot.part)->tensor.get() : nullptr;
  const bool is_encodable = copies && stored->in_file().size() == 1 && stored->in_file()[0].format.from_doubles;
  const std::size_t rank = is_called_alike(slot) ? stored->shape().size() : slot.rank;
  std::vector<std::uint64_t> shape = with_rank(own.shape(io::StoredLayer::is_vector(slot.part)), rank);
  if (!copies || (!is_source_ && is_encodable)) {
    const io::TensorFormat format = encoded_format(group, name);
    tensors.push_back({name, format, std::move(shape), [self, group, expert, format, name](const io::ByteSink& sink) {
                         self->encode(group, expert, format, name, sink);
                       }});
    return;
  }
  for (std::size_t file = 0; file < stored->in_file().size(); ++file) {
    const io::CheckpointTensor& of = stored->in_file()[file];
    io::TensorSource tensor{name + of.name.substr(stored->name().size()), of.format, shape, {}};
    if (stored->in_file().size() > 1) {
      tensor.shape = of.shape;
      if (own.is_stacked)
        tensor.shape[0] = tensor.shape[0] /
                          static_cast<std::uint64_t>(source_->experts() - source_->copying_experts()) *
                          static_cast<std::uint64_t>(own.count);
    }
    tensor.write = [self, group, expert, end = expert + own.count, file, name](const io::ByteSink& sink) {
      for (Index e = expert; e < end; ++e) {
        const Index found = self->stored_expert(group, e);
        if (found < 0)
          self->fail("tensor ", in_quotes(name), ": numbers of expert ", e, " are not among those stored as ",
                     self->source_->weight(group.front().part)->tensor->format(),
                     ", which cannot be written anew; state a format, such as NumberFormat::bf16");
        sink(self->stored_bytes(group, found)[file]);
      }
    };
    tensors.push_back(std::move(tensor));
  }
}

/// The source's expert of the same numbers, as read in the content's type; -1 if there is none. Looked for first as far
/// away as that expert, or one before it, was found last.
inline Index LayerTensors::stored_expert(const SlotGroup& group, Index expert) const {
  const bool is_of_expert = io::StoredLayer::is_of_expert(group.front().part);
  if (is_source_) return expert;
  const Index count = is_of_expert ? source_->experts() - source_->copying_experts() : Index{1};
  std::vector<Matrix<double>> wanted;
  for (const Slot* slot : group.slots) wanted.push_back(content_.numbers(slot->part, expert));
  const auto after = found_.upper_bound(expert);
  const Index guess = after == found_.begin() ? expert : expert - std::prev(after)->first + std::prev(after)->second;
  for (Index tried = 0; tried < count; ++tried) {
    const Index e = (guess + tried) % count;
    bool is_same = true;
    for (std::size_t i = 0; i < wanted.size() && is_same; ++i) {
      const io::StoredWeight& weight = *source_->weight(group.slots[i]->part, e);
      is_same = content_.scalar == io::DType::F32 ? weight.holds<float>(wanted[i]) : weight.holds<double>(wanted[i]);
    }
    if (!is_same) continue;
    if (is_of_expert) found_[expert] = e;
    return e;
  }
  return -1;
}

inline void LayerTensors::encode(const SlotGroup& group, Index expert, const io::TensorFormat& format,
                                 std::string_view name, const io::ByteSink& sink) const {
  const SlotSlice own = slice_of(group, content_);
  Matrix<double> values(own.rows, own.cols);
  std::vector<std::byte> bytes;
  // Of a block that others have encoded there may be several codes: unchanged numbers keep theirs.
  const bool may_keep = format.elements > 1 && can_copy(group);
  for (Index e = group.is_per_expert() ? expert : 0, end = e + own.count; e < end; ++e) {
    if (const Index found = may_keep ? stored_expert(group, e) : -1; found >= 0) {
      sink(stored_bytes(group, found)[0]);
      continue;
    }
    for (const Slot* slot : group.slots) {
      const Matrix<double> numbers = content_.numbers(slot->part, e);
      if (numbers.rows() != own.outputs || numbers.cols() != own.inputs)
        fail("the ", part_text(slot->part), " of expert ", e, " became ", numbers.rows(), " x ", numbers.cols(),
             ", not ", own.outputs, " x ", own.inputs);
      for (Index i = 0; i < own.outputs; ++i) {
        const Index at = first_output(*slot, own.outputs) + i * output_step(*slot);
        if (inputs_first(*slot))
          values.col(at) = numbers.row(i).transpose();
        else
          values.row(at) = numbers.row(i);
      }
    }
    const std::size_t blocks = static_cast<std::size_t>(values.size()) / format.elements;
    bytes.resize(blocks * format.bytes);
    const std::size_t written = format.from_doubles(values.data(), blocks, bytes.data());
    if (written < blocks)
      fail("tensor ", in_quotes(name), ": number ", written * format.elements, " of expert ", e,
           ", counted from 0, or one of its block, is too large for ", format.name);
    sink(bytes);
  }
}

}  // namespace detail

MOE_NAMESPACE_END
