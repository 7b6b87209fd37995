// A Mixture-of-Experts layer as it lies in a checkpoint: its sizes, gate and settings, and where each weight is.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "moe/core/core.hpp"
#include "moe/core/parameters.hpp"
#include "moe/io/checkpoint.hpp"
#include "moe/io/family.hpp"
#include "moe/io/family_settings.hpp"
#include "moe/io/stored_weight.hpp"
#include "moe/io/tensor_info.hpp"

MOE_NAMESPACE_BEGIN

namespace io {

/// Reads headers and settings; the weights stay in their files until they are asked for. Every tensor in the family's
/// scope is used exactly once, or the family ignores it. Throws FileError, naming tensor or setting: a part that is not
/// there, a tensor that is no part, shapes that contradict each other or the settings.
class StoredLayer {
 public:
  static bool is_of_expert(Part part) {
    return part == Part::gate || part == Part::up || part == Part::down || part == Part::gate_bias ||
           part == Part::up_bias || part == Part::down_bias;
  }
  static bool is_vector(Part part) {
    return part == Part::router_bias || part == Part::selection_bias || part == Part::gate_bias ||
           part == Part::up_bias || part == Part::down_bias || part == Part::output_bias;
  }
  static bool is_shared(Part part) {
    return part == Part::shared_gate || part == Part::shared_up || part == Part::shared_down ||
           part == Part::shared_mix;
  }

  /// `name` is the layer's: "model.layers.3". The checkpoint may be gone afterwards.
  StoredLayer(const Checkpoint& checkpoint, std::string_view name, const Family& family)
      : path_(checkpoint.path()), name_(name) {
    const Settings settings(checkpoint, family, name_);
    find_parts(checkpoint, family, settings);
    find_experts(settings);
    find_weights();
    require_all_used(checkpoint, family);
    if (family.gate == nullptr) fail("the family ", moe::detail::in_quotes(family.name), " has no gate");
    gate_ = family.gate(settings);
    if (has(Part::selection_bias)) {
      auto* const scored = std::get_if<ScoredTopK>(&gate_);
      if (scored == nullptr) fail("has a selection bias, which the family's gate does not read");
      scored->selection_bias_E = weight(Part::selection_bias)->vector<double>(Precision::rounded);
    }
    form_ = moe::detail::form_of(family, settings);
    if (family.dispatching != nullptr) dispatching_ = family.dispatching(settings);
    output_scale_ = 1 - settings.number(Key::output_dropout, 0);
  }

  const std::string& name() const { return name_; }
  Index experts() const { return experts_; }  ///< The copying ones among them.
  Index copying_experts() const { return copying_; }
  Index width() const { return width_; }
  Index hidden() const { return hidden_; }
  Index shared_hidden() const { return shared_hidden_; }  ///< 0: no shared expert.
  const FamilyGate& gate() const { return gate_; }
  const ExpertForm& form() const { return form_; }
  const DispatchOptions& dispatching() const { return dispatching_; }
  double output_scale() const { return output_scale_; }  ///< Of the routed experts' output.

  bool has(Part part) const { return !weights_[index(part)].empty(); }
  /// Of an expert, or of the layer; nullptr if it has none.
  const StoredWeight* weight(Part part, Index expert = 0) const {
    const auto& all = weights_[index(part)];
    return all.empty() ? nullptr : &all[static_cast<std::size_t>(expert)];
  }
  /// The number of all weights, biases included.
  Index weights() const {
    std::size_t count = 0;
    for (const auto& all : weights_) count += all.size();
    return static_cast<Index>(count);
  }
  /// The names in the file of a part's tensors.
  std::vector<std::string> names(Part part) const {
    std::vector<std::string> all;
    const StoredTensor* last = nullptr;
    for (const StoredWeight& weight : weights_[index(part)]) {
      if (weight.tensor.get() == last) continue;
      last = weight.tensor.get();
      all.insert(all.end(), last->parts().begin(), last->parts().end());
    }
    return all;
  }
  const std::vector<std::string>& used() const { return used_; }        ///< In no order.
  const std::vector<std::string>& ignored() const { return ignored_; }  ///< What else begins with the layer's name.

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    moe::detail::fail_io(path_, ": layer ", moe::detail::in_quotes(name_), ": ", parts...);
  }

 private:
  using Tensor = std::shared_ptr<const StoredTensor>;
  struct Located {
    const Slot* slot = nullptr;
    std::vector<Tensor> tensors;  ///< One, or one an expert.
    bool is_per_expert() const { return slot->tensor.find("{e}") != std::string::npos; }
    Index factor() const { return slot->outputs == Outputs::all ? 1 : 2; }
  };

  static constexpr std::size_t index(Part part) { return static_cast<std::size_t>(part); }
  Located& located(Part part) { return located_[index(part)]; }

  Tensor tensor(const Checkpoint& checkpoint, const std::string& name) {
    auto& known = tensors_[name];
    if (!known) known = std::make_shared<const StoredTensor>(checkpoint.stored(name));
    return known;
  }

  void find_parts(const Checkpoint& checkpoint, const Family& family, const Settings& settings);
  void find_experts(const Settings& settings);
  void find_weights();
  void find_weight(Part part, Index outputs, Index inputs);
  void require_all_used(const Checkpoint& checkpoint, const Family& family);

  /// Throws unless the setting, if there is one, says what the tensor says.
  void require_same(const Settings& settings, Key key, Index found, const StoredTensor& tensor) const {
    const auto stated = settings.integer(key);
    if (stated && *stated != found)
      fail("setting ", settings.name_of(key), " is ", *stated, ", by tensor ", moe::detail::in_quotes(tensor.name()),
           ", ", moe::detail::described(tensor.format(), tensor.shape()), ", it is ", found);
  }

  std::string path_, name_;
  Index experts_ = 0, copying_ = 0, width_ = 0, hidden_ = 0, shared_hidden_ = 0;
  FamilyGate gate_;
  ExpertForm form_;
  DispatchOptions dispatching_;
  double output_scale_ = 1;
  std::array<Located, number_of_parts> located_;
  std::array<std::vector<StoredWeight>, number_of_parts> weights_;
  std::map<std::string, Tensor> tensors_;
  std::vector<std::string> used_, ignored_;
};

/// Finds the slot of each part. A part that no slot has is an error, if it is not optional.
inline void StoredLayer::find_parts(const Checkpoint& checkpoint, const Family& family, const Settings& settings) {
  const Index stated = settings.integer(Key::shared_hidden, 0) + settings.integer(Key::shared_experts, 0);
  bool any_shared = stated > 0;
  for (const Slot& slot : family.slots) any_shared = any_shared || (is_shared(slot.part) && settings.slot(slot.part));
  for (const Slot& slot : family.slots) {
    if (located(slot.part).slot != nullptr) continue;
    if (const Slot* const found = settings.slot(slot.part))
      located(slot.part).slot = found;
    else if (!slot.optional || (any_shared && is_shared(slot.part) && !family.is_gguf))
      fail("no tensor ", moe::detail::in_quotes(settings.tensor(slot) + slot.marker));
  }
  if (located(Part::router).slot == nullptr) fail("the family ", moe::detail::in_quotes(family.name), " has no router");
  located(Part::router).tensors = {tensor(checkpoint, settings.tensor(*located(Part::router).slot))};
  copying_ = settings.integer(Key::copying_experts, 0);
  const StoredTensor& router = *located(Part::router).tensors.front();
  if (router.shape().size() != 2 || router.cols() == 0 || router.rows() > 1'000'000 || copying_ < 0 ||
      std::cmp_less_equal(router.rows(), copying_))
    fail("the router ", moe::detail::in_quotes(router.name()), " is ",
         moe::detail::described(router.format(), router.shape()), ", not (experts, width)");
  experts_ = static_cast<Index>(router.rows());
  width_ = static_cast<Index>(router.cols());
  require_same(settings, Key::experts, experts_ - copying_, router);
  require_same(settings, Key::width, width_, router);
  for (std::size_t part = 0; part < located_.size(); ++part) {
    Located& found = located_[part];
    if (found.slot == nullptr || !found.tensors.empty()) continue;
    const Index count = found.is_per_expert() ? experts_ - copying_ : 1;
    for (Index e = 0; e < count; ++e) found.tensors.push_back(tensor(checkpoint, settings.tensor(*found.slot, e)));
  }
}

/// F and Fs, by the tensors of the up projections.
inline void StoredLayer::find_experts(const Settings& settings) {
  const auto outputs_of = [&](Part part) {
    const Located& up = located(part);
    const StoredTensor& tensor = *up.tensors.front();
    const std::uint64_t count =
        is_of_expert(part) && !up.is_per_expert() ? static_cast<std::uint64_t>(experts_ - copying_) : 1;
    const std::uint64_t outputs = up.slot->order == Order::inputs_first ? tensor.cols() : tensor.rows() / count;
    if (outputs == 0 || std::cmp_greater(outputs, (std::numeric_limits<Index>::max)() / 2))
      fail("tensor ", moe::detail::in_quotes(tensor.name()), " is ",
           moe::detail::described(tensor.format(), tensor.shape()), ": no weights of ", count, " experts");
    return static_cast<Index>(outputs) / up.factor();
  };
  if (located(Part::up).slot == nullptr || located(Part::down).slot == nullptr)
    fail("the family has no up and down projections of experts");
  hidden_ = outputs_of(Part::up);
  require_same(settings, Key::hidden, hidden_, *located(Part::up).tensors.front());
  if (located(Part::shared_up).slot == nullptr) return;
  shared_hidden_ = outputs_of(Part::shared_up);
  const StoredTensor& shared = *located(Part::shared_up).tensors.front();
  require_same(settings, Key::shared_hidden, shared_hidden_, shared);
  if (hidden_ > 0 && shared_hidden_ % hidden_ == 0)
    require_same(settings, Key::shared_experts, shared_hidden_ / hidden_, shared);
}

inline void StoredLayer::find_weights() {
  const Index D = width_, F = hidden_, Fs = shared_hidden_;
  find_weight(Part::router, experts_, D);
  find_weight(Part::router_bias, experts_, 1);
  find_weight(Part::selection_bias, experts_, 1);
  find_weight(Part::gate, F, D);
  find_weight(Part::up, F, D);
  find_weight(Part::down, D, F);
  find_weight(Part::gate_bias, F, 1);
  find_weight(Part::up_bias, F, 1);
  find_weight(Part::down_bias, D, 1);
  find_weight(Part::shared_gate, Fs, D);
  find_weight(Part::shared_up, Fs, D);
  find_weight(Part::shared_down, D, Fs);
  find_weight(Part::shared_mix, 1, D);
  find_weight(Part::output_bias, D, 1);
}

/// Checks the part's tensors against the sizes, and tells where each expert's lies.
inline void StoredLayer::find_weight(Part part, Index outputs, Index inputs) {
  const Located& found = located(part);
  if (found.slot == nullptr) return;
  const bool inputs_first = is_vector(part) || found.slot->order == Order::inputs_first;
  const auto all_outputs = static_cast<std::uint64_t>(outputs * found.factor());
  const auto all_inputs = static_cast<std::uint64_t>(inputs);
  const std::uint64_t rows = inputs_first ? all_inputs : all_outputs, cols = inputs_first ? all_outputs : all_inputs;
  const Index count = is_of_expert(part) ? experts_ - copying_ : 1;
  const std::uint64_t in_tensor = found.is_per_expert() ? 1 : static_cast<std::uint64_t>(count);
  for (Index e = 0; e < count; ++e) {
    const bool has_own = found.is_per_expert();
    const Tensor& tensor = found.tensors[has_own ? static_cast<std::size_t>(e) : 0];
    const auto& shape = tensor->shape();
    if (tensor->rows() != in_tensor * rows || tensor->cols() != cols || (shape.size() == 3 && shape[0] != in_tensor))
      fail("tensor ", moe::detail::in_quotes(tensor->name()), " is ", moe::detail::described(tensor->format(), shape),
           ", not ", in_tensor, " x ", rows, " x ", cols, ", with ", experts_ - copying_, " experts, width ", width_,
           " and hidden width ", hidden_);
    StoredWeight weight{.tensor = tensor, .outputs = outputs, .inputs = inputs, .inputs_first = inputs_first};
    weight.first_row = has_own ? 0 : static_cast<std::uint64_t>(e) * rows;
    const bool alternates = found.slot->outputs == Outputs::even || found.slot->outputs == Outputs::odd;
    weight.output_step = alternates ? 2 : 1;
    if (found.slot->outputs == Outputs::odd) weight.first_output = 1;
    if (found.slot->outputs == Outputs::second_half) weight.first_output = static_cast<std::uint64_t>(outputs);
    weights_[index(part)].push_back(std::move(weight));
  }
}

/// Each tensor of the scope is a part, or ignored; each half of a tensor is used once.
inline void StoredLayer::require_all_used(const Checkpoint& checkpoint, const Family& family) {
  std::set<std::string, std::less<>> used;
  for (const auto& [name, tensor] : tensors_) used.insert(tensor->parts().begin(), tensor->parts().end());
  used_.assign(used.begin(), used.end());
  const std::string prefix = name_ + ".";
  const auto look_at = [&](const std::string& name) {
    if (!name.starts_with(prefix) || used.contains(name)) return;
    const std::string_view own = std::string_view(name).substr(prefix.size());
    const auto begins = [&](const std::string& scope) { return own.starts_with(scope); };
    const auto covers = [&](const std::string& pattern) { return moe::detail::covers(pattern, own); };
    if (std::ranges::any_of(family.scope, begins) && std::ranges::none_of(family.ignored, covers))
      fail("tensor ", moe::detail::in_quotes(name), " is no part of a layer of the family ",
           moe::detail::in_quotes(family.name));
    ignored_.push_back(name);
  };
  for (const std::string& name : checkpoint.names()) look_at(name);
  for (const auto& [name, shard] : checkpoint.missing()) look_at(name);
  std::set<std::pair<const StoredTensor*, std::uint64_t>> taken;
  for (const auto& all : weights_)
    for (const StoredWeight& weight : all)
      if (!taken.emplace(weight.tensor.get(), weight.first_row * 2 + (weight.first_output > 0 ? 1 : 0)).second)
        fail("tensor ", moe::detail::in_quotes(weight.tensor->name()), " is two parts at once in the family ",
             moe::detail::in_quotes(family.name));
}

}  // namespace io

MOE_NAMESPACE_END
